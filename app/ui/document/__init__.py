"""A document, opened at a place."""
