"""What may differ from layer to layer: the width of weights, and thresholds of channels."""
