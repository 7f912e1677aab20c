"""Measurements as commands: ``python -m benchmarks --help``."""
