"""A quantized network as one C99 source of its own, and the header beside it."""
