"""The states of neurons over a window: by definition, fast, in 16 bits, and of a sum."""
