"""The bilevel search: the loop, its health, the selection, and what was found."""
