"""The tandem learning rule in PyTorch: layers, conversion, models, data, training, checkpoints."""
