"""A network as one readable Python file."""
