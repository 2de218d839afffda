"""The one error a reader raises."""

from embedder.errors import AppError


class UnreadableFile(AppError):
    """A file that no reader can turn into text; the message says why, and what to do.

    One such file is one failed row of an indexing run: the files beside it are indexed all the same.
    """
