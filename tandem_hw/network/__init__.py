"""The quantized network, in NumPy alone."""
