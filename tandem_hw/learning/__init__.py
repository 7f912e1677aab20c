"""The tandem rule in PyTorch: layers and their kinds, the model, its integers, checkpoints."""
