"""Samples that a training reads as it needs them."""
