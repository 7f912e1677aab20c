"""Reports that are opened in a browser: one file, which loads nothing."""
