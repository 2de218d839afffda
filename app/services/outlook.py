"""What a build would cost, before anything is done: counts, bytes, time, storage."""

import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from app.services.models import dims_of
from embedder.catalogue import PUBLISHED
from indexer.catalog.jobs import Speed
from indexer.pipeline import BuildRefused
from indexer.plan import Plan, may_have_moved, plan
from indexer.records import Corpus, FileState, Generation
from indexer.sources.files import FoundFile, file_digest
from indexer.sources.folders import find_files

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
        seconds: How long it takes by the runs of that model that were measured; None where there was none.
        measured_in: The run whose speed it is.
        passages: How many the index holds afterwards, by what it holds for its files now; None before the first
            build.
        storage: What their vectors take; empty where that is not known.
        must_be_rebuilt: Whether a build is refused, since the index was read or cut otherwise than is done now.
    """

    corpus: str
    shares: Mapping[str, Share]
    moved_from: tuple[str, ...]
    model: str
    seconds: float | None
    measured_in: int | None
    passages: int | None
    storage: tuple[VectorStorage, ...]
    must_be_rebuilt: bool = False


def find_there(corpus: Corpus) -> Mapping[str, FoundFile]:
    """What is there now; a folder that is gone is a drive not mounted rather than a wish to empty the index."""
    if not corpus.url and not os.path.exists(corpus.root):  # as if gone where a network does not answer
        raise BuildRefused(
            f"{corpus.root}, for which {corpus.name} stands, is not there; put it back, or forget the corpus with "
            f"kalm corpus remove {corpus.name}."
        )
    return find_files(corpus)


def compared(
    known: Mapping[str, FileState], found: Mapping[str, FoundFile], on_progress: Callable[[float], None]
) -> Plan:
    """What has to happen to files, those that moved told apart by reading some; told how far that is, 0 to 1."""
    moved = {uri: found[uri].path for uri in may_have_moved(known, found)}
    return plan(known, found, _digests(moved, on_progress))


def outlook(
    corpus: str,
    todo: Plan,
    known: Mapping[str, FileState],
    found: Mapping[str, FoundFile],
    model: str,
    speed: Speed | None,
    live: Generation | None,
    *,
    rebuild: bool = False,
    must_be_rebuilt: bool = False,
) -> Outlook:
    """Work out what a plan costs.

    Args:
        corpus: Its name.
        todo: The plan.
        known: Files of the index.
        found: Files on disk.
        model: What would be built with.
        speed: How fast it was before.
        live: The index.
        rebuild: Whether it is built from nothing; else it is extended, which costs a copy and its graph, too.
        must_be_rebuilt: As in ``Outlook``.
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
    chunks = live.chunks if live else 0
    passages = round(sum(file.size for file in stays.values()) * chunks / bytes_read) if bytes_read else None
    fresh_bytes = shares["add"].bytes + shares["update"].bytes  # a file that moved takes its vectors from the cache
    extends = live is not None and not rebuild and not todo.is_empty
    return Outlook(
        corpus=corpus,
        shares=shares,
        moved_from=tuple(move.before for move in todo.move),
        model=model,
        seconds=fresh_bytes / speed.bytes_per_second + extends * speed.update_seconds if speed else None,
        measured_in=speed.run if speed else None,
        passages=passages,
        storage=() if passages is None else _storage(passages, model, None if rebuild else live),
        must_be_rebuilt=must_be_rebuilt,
    )


def _storage(passages: int, model: str, extended: Generation | None) -> tuple[VectorStorage, ...]:
    dims = dims_of(model) if extended is None or model in PUBLISHED else (extended.manifest.dim,)
    return tuple(VectorStorage(dim, name, passages * dim * bits // 8) for dim in dims for name, bits in _BITS.items())


def _share(uris: Collection[str], files: Mapping[str, FileState | FoundFile]) -> Share:
    return Share(tuple(uris), sum(files[uri].size for uri in uris))


def _digests(paths: Mapping[str, Path], on_progress: Callable[[float], None]) -> dict[str, str]:
    digests: dict[str, str] = {}
    for number, (uri, path) in enumerate(paths.items()):
        on_progress(number / len(paths))
        try:
            digests[uri] = file_digest(path)
        except OSError:  # the build will say so
            continue
    return digests
