"""Watched child processes, in which Lava runs."""
