"""From settings in a file to a run, and back."""
