"""tandem-hw: spiking networks from PyTorch to neuromorphic hardware, the same bit for bit."""
