"""Measurements behind ``kalm bench``."""
