"""What a build has to do: decided purely, before anything is done."""

from collections.abc import Mapping
from dataclasses import dataclass

from indexer.records import FileState
from indexer.sources.files import FoundFile


@dataclass(frozen=True, slots=True)
class Move:
    """A file that stood elsewhere when the index was built."""

    before: str
    now: str


@dataclass(frozen=True, slots=True)
class Plan:
    """Files by what has to happen to them, each list sorted by uri.

    Attributes:
        add: New files.
        update: Files whose size or time changed; whether their content did is seen when they are read.
        move: New files with the content of one that is gone. They are read again, and cost no embedding.
        gone: Files of the index that are no longer there, those that moved among them.
        unchanged: Files left alone, those in folders that may not be opened among them.
        failed_before: Unchanged files that could not be read; part of ``unchanged``.
        size_bytes: Size of all files in ``look``.
    """

    add: tuple[str, ...]
    update: tuple[str, ...]
    move: tuple[Move, ...]
    gone: tuple[str, ...]
    unchanged: tuple[str, ...]
    failed_before: tuple[str, ...]
    size_bytes: int

    @property
    def look(self) -> tuple[str, ...]:
        """Files to be looked at, sorted by uri."""
        return tuple(sorted((*self.add, *self.update, *(move.now for move in self.move))))

    @property
    def delete(self) -> tuple[str, ...]:
        """Files that are gone and did not move."""
        moved = {move.before for move in self.move}
        return tuple(uri for uri in self.gone if uri not in moved)

    @property
    def is_empty(self) -> bool:
        """Whether the index already says what the folder says."""
        return not self.look and not self.gone


def plan(
    known: Mapping[str, FileState], found: Mapping[str, FoundFile], digests: Mapping[str, str] | None = None
) -> Plan:
    """Compare the files of an index with the files on disk.

    Args:
        known: Files of the index, by uri.
        found: Files on disk, by uri.
        digests: Of the content of new files, as far as they were taken; without them a file that moved is one that
            is gone and one that is new.
    """
    both = found.keys() & known.keys()
    gone = _gone(known, found)
    unchanged = {uri for uri in both if _stamp(known[uri]) == _stamp(found[uri])}
    unchanged |= known.keys() - both - set(gone)
    new = sorted(found.keys() - known.keys())
    moves = _moves({uri: known[uri].digest for uri in gone}, {uri: (digests or {}).get(uri, "") for uri in new})
    moved = {move.now for move in moves}
    return Plan(
        add=tuple(uri for uri in new if uri not in moved),
        update=tuple(sorted(both - unchanged)),
        move=moves,
        gone=tuple(gone),
        unchanged=tuple(sorted(unchanged)),
        failed_before=tuple(sorted(uri for uri in unchanged if known[uri].error)),
        size_bytes=sum(file.size for uri, file in found.items() if uri not in unchanged),
    )


def may_have_moved(known: Mapping[str, FileState], found: Mapping[str, FoundFile]) -> list[str]:
    """New files of the size of one that is gone: those whose digests ``plan`` can use, sorted."""
    sizes = {known[uri].size for uri in _gone(known, found)}
    return sorted(uri for uri in found.keys() - known.keys() if found[uri].size in sizes)


def _gone(known: Mapping[str, FileState], found: Mapping[str, FoundFile]) -> list[str]:
    """Files of the index that are no longer there, sorted; of a folder that may not be opened nobody knows."""
    closed = tuple(f"{uri}/" for uri, file in found.items() if file.is_folder)
    return sorted(uri for uri in known.keys() - found.keys() if not uri.startswith(closed))


def _moves(gone: Mapping[str, str], new: Mapping[str, str]) -> tuple[Move, ...]:
    """Pairs of equal content, each file in one pair at most."""
    sources: dict[str, list[str]] = {}
    for uri in sorted(gone, reverse=True):
        sources.setdefault(gone[uri], []).append(uri)
    return tuple(
        Move(sources[digest].pop(), uri) for uri, digest in sorted(new.items()) if digest and sources.get(digest)
    )


def _stamp(file: FileState | FoundFile) -> tuple[int, int]:
    return file.size, file.mtime_ns
