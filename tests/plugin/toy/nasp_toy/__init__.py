"""A plug-in of nasp: one strategy, one search space of images, one kind of data."""
