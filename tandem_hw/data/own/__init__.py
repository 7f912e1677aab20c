"""Data of the user's own: arrays, folders of files, and objects of other programs."""
