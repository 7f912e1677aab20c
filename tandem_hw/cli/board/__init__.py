"""The commands that may run on a board, and the options that name one."""
