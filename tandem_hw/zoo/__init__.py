"""Networks and recipes that come with the package."""
