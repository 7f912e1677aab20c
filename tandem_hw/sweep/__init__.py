"""Many trainings over a grid of options: planned, run side by side, measured and summed up."""
