"""What an evaluation refuses, in sentences."""

from embedder.errors import AppError


class EvaluationRefused(AppError):
    """Tasks or settings that cannot be evaluated together."""


class HubUnreachable(AppError):
    """A task whose data would have to be fetched and cannot be."""


class TasksFailed(AppError):
    """Tasks without a score at the end of a run; the others have theirs."""
