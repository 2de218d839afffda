"""Corpora into vectors, and search over them.

A build, in this order: ``sources`` finds files, ``plan`` compares them with the index, ``readers`` make documents of
them, ``chunking`` cuts passages, ``lexical`` makes terms, ``stores`` keep all of it. ``pipeline`` tells it from top to
bottom, with the parts in ``builds``; ``catalog`` knows at every moment what is in which index. Then ``search`` answers,
with the parts in ``retrieval``. ``langchain`` is the same for chains, and ``upkeep`` is what comes after.
"""
