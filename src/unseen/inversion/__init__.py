"""Layer inversion: what a generator cannot draw in a single photograph."""
