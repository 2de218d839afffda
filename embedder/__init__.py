"""Text in, unit vectors out: the KaLM-Embedding-V2 encoder.

>>> from embedder import Embedder
>>> encoder = Embedder.load()
>>> encoder.encode_queries(["how do bees make honey"]).shape[0]
1
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from embedder.cache import VectorCache
    from embedder.encoder import Embedder
    from embedder.errors import AppError

__all__ = ["AppError", "Embedder", "VectorCache"]

_HOME = {"AppError": "embedder.errors", "Embedder": "embedder.encoder", "VectorCache": "embedder.cache"}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - whatever the public name stands for
    """Load a public name when it is first used (PEP 562): importing the package loads no torch."""
    if name not in _HOME:
        raise AttributeError(f"module 'embedder' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOME[name]), name)
