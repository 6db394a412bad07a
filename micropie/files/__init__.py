"""Static files as responses."""
