"""By its name the backend sees that SANA-FE is there."""
