"""What the commands show beside text."""
