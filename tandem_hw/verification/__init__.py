"""The shared step that proves backends equal."""
