"""What a measurement says when it cannot be made."""

from embedder.errors import AppError


class BenchRefused(AppError):
    """A measurement that cannot be made here."""
