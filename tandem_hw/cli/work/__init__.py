"""What the commands do once their arguments are read: here PyTorch may be imported."""
