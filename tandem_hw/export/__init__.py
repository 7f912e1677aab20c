"""From a trained model to a quantized network, to a file, to a Lava process graph."""
