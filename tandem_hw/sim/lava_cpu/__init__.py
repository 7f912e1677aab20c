"""Lava's CPU simulator."""
