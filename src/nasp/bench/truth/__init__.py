"""What architectures are really worth: tables, ours and others'."""
