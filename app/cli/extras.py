"""Packages that only some commands need, and how to install them."""

from collections.abc import Sequence
from importlib.util import find_spec

from embedder.errors import AppError


class NotInstalled(AppError):
    """Packages of an extra that are not there."""


def require(what: str, packages: Sequence[str], extra: str) -> None:
    """See that packages are there before anything imports them.

    Args:
        what: What needs them, as a sentence begins.
        packages: Their import names.
        extra: The extra that has them.

    Raises:
        NotInstalled: If one is not there.
    """
    lacking = [package for package in packages if find_spec(package) is None]
    if lacking:
        raise NotInstalled(f"{what} needs {' and '.join(lacking)}; run pip install -c constraints.txt -e '.[{extra}]'.")
