"""The conformance suite: cases that every backend runs, judged by an oracle in plain Python."""
