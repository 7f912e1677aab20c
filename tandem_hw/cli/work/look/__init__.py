"""What the commands that look at what happened do once their arguments are right."""
