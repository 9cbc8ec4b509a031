"""A run folder: everything of one search or training, written so that any kill leaves it whole."""
