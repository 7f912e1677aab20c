"""What a command is as a process: its output, the signals that it gets, how it ends."""
