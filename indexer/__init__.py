"""Corpora into vectors, and search over them."""
