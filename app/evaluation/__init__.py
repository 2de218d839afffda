"""Evaluation by mteb: our models and our whole search on its tasks, by name or from folders of tables.

mteb takes seconds to load, so nothing here is imported before it is needed.
"""
