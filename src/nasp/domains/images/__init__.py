"""Image classification: sets, loaders, augmentation, recipe, hand-made rival."""
