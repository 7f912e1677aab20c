"""Other libraries that train spiking networks in PyTorch, each behind one adapter."""
