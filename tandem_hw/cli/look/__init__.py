"""Commands that look at what happened."""
