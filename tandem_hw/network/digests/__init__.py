"""Digests: of a network, and of the integers that a backend really used."""
