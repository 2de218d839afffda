"""The errors a reader raises."""

from embedder.errors import AppError


class UnreadableFile(AppError):
    """A file that no reader can turn into text; the message says why, and what to do.

    One such file is one failed row of an indexing run: the files beside it are indexed all the same.
    """


class PartlyUnreadable(UnreadableFile):
    """An archive some of whose members cannot be read; raised after the documents of all others.

    These documents are good: only what the message names is missing.
    """
