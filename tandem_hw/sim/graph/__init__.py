"""The Lava graph that both Lava backends share."""
