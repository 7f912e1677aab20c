"""What ``last.pt`` may hold of a training, and how it is taken up."""
