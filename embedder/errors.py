"""The base of every error that is fit for a user to read."""


class AppError(Exception):
    """Something the user can understand and act on.

    The message is one sentence: what happened and what to do. The command line and the pages show it as it
    is; any other exception is a bug and keeps its traceback.
    """
