"""Language modelling: corpora, loaders, recipe, hand-made rival."""
