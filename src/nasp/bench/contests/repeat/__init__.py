"""Is it the search or the seed: the same search by several seeds, and random networks beside it."""
