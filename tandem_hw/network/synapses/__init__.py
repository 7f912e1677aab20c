"""What a network becomes on Loihi, in plain numbers."""
