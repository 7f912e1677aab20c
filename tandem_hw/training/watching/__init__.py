"""What can be watched of a training: its progress, its logs and how long its epochs take."""
