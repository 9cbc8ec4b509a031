"""Kinds of data, one package each."""
