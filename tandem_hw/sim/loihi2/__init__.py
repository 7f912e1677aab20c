"""Loihi 2 boards."""
