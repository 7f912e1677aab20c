"""The kinds of synapses of a quantized network, and the geometry of convolutions."""
