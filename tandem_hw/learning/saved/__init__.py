"""What files of trained networks may hold, and what is asked of it before it is used."""
