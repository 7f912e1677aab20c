"""What runs on a GPU alone; elsewhere nothing of it is imported or compiled."""
