"""What a search is made of; ``search.py`` above puts it together.

``results`` has as values what is asked and what comes back.
"""
