"""What users give a command beside its options: files with networks of theirs, and with options."""
