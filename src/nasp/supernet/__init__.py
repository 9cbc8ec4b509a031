"""Choices in a module, the alphas that decide them, and the plain network that comes out."""
