"""What it takes to convert a network: all that is refused, and what could be swapped."""
