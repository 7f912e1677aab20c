"""From an ordinary network to a tandem network."""
