"""A plug-in of nasp: one strategy and one search space."""
