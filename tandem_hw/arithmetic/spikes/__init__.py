"""Spikes from where they arise to where they go: in bits, as counts, and as what comes in."""
