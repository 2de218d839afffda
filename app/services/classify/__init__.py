"""Classifiers over frozen vectors: described or learnt, judged honestly, kept, and applied."""
