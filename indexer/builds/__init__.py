"""What a build is made of; ``pipeline.py`` above puts it together.

First the shared part, in this process (``reading``) or on a Ray cluster (``cluster``): files are read, cut and embedded
as ``intake`` says, and staged. Then ``sink`` writes the store, alone.
"""
