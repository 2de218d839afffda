"""What a build would cost, before anything is done: counts, bytes, time, storage."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from indexer.jobs import Speed
from indexer.plan import FoundFile, Plan
from indexer.records import FileState

_BITS = {"float32": 32, "int8": 8, "binary": 1}
"""For each number of a vector, by how it is kept."""


@dataclass(frozen=True, slots=True)
class Share:
    """Some of the files, with their size in bytes."""

    files: tuple[str, ...]
    bytes: int


@dataclass(frozen=True, slots=True)
class VectorStorage:
    """What the vectors of an index take, by their width and how their numbers are kept."""

    dim: int
    quantisation: str
    bytes: int


@dataclass(frozen=True, slots=True)
class Outlook:
    """What a build would do.

    Attributes:
        shares: Files by what has to happen to them: ``add``, ``update``, ``move``, ``delete``, ``unchanged``, and
            ``failed_before``, which is part of ``unchanged``.
        moved_from: Where the files of ``move`` stood before, in the same order.
        model: What would be built with.
        seconds: How long it takes at the speed of the last run of that model; None where there was none.
        measured_in: That run.
        passages: How many the index holds afterwards, by what it holds for its files now; None before the first
            build.
        storage: What their vectors take; empty where that is not known.
    """

    corpus: str
    shares: Mapping[str, Share]
    moved_from: tuple[str, ...]
    model: str
    seconds: float | None
    measured_in: int | None
    passages: int | None
    storage: tuple[VectorStorage, ...]


def outlook(
    corpus: str,
    todo: Plan,
    known: Mapping[str, FileState],
    found: Mapping[str, FoundFile],
    *,
    model: str,
    speed: Speed | None,
    chunks: int,
    dims: Sequence[int],
) -> Outlook:
    """Work out what a plan costs.

    Args:
        corpus: Its name.
        todo: The plan.
        known: Files of the index.
        found: Files on disk.
        model: What would be built with.
        speed: How fast it was.
        chunks: Passages the index holds for the files that could be read.
        dims: Widths the vectors may have.
    """
    # Of a folder that may not be opened, the index alone knows the files.
    stays: dict[str, FileState | FoundFile] = {**{uri: known[uri] for uri in todo.unchanged}, **found}
    shares = {
        "add": _share(todo.add, found),
        "update": _share(todo.update, found),
        "move": _share([move.now for move in todo.move], found),
        "delete": _share(todo.delete, known),
        "unchanged": _share(todo.unchanged, stays),
        "failed_before": _share(todo.failed_before, stays),
    }
    bytes_read = sum(file.size for file in known.values() if not file.error)
    passages = round(sum(file.size for file in stays.values()) * chunks / bytes_read) if bytes_read else None
    fresh_bytes = shares["add"].bytes + shares["update"].bytes  # a file that moved takes its vectors from the cache
    return Outlook(
        corpus=corpus,
        shares=shares,
        moved_from=tuple(move.before for move in todo.move),
        model=model,
        seconds=fresh_bytes / speed.bytes_per_second if speed else None,
        measured_in=speed.run if speed else None,
        passages=passages,
        storage=tuple(
            VectorStorage(dim, name, passages * dim * bits // 8)
            for dim in dims
            for name, bits in _BITS.items()
            if passages is not None
        ),
    )


def _share(uris: Collection[str], files: Mapping[str, FileState | FoundFile]) -> Share:
    return Share(tuple(uris), sum(files[uri].size for uri in uris))
