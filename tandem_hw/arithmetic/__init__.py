"""The integers of the chip, computed in PyTorch."""
