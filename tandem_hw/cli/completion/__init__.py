"""What the Tab key completes."""
