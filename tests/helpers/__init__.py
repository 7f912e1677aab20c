"""What several test modules use, and no test."""
