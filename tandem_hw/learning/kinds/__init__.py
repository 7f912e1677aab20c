"""The kinds of tandem layers: a class each, and one table of all."""
