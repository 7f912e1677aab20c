"""The commands that look at what there is: at a result, or at this machine."""
