"""The backends that run a quantized network: reference, lava-cpu."""
