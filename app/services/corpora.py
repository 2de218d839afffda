"""Corpora: entered, listed, removed."""

import re
import secrets
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from embedder.errors import AppError
from indexer.catalog.corpora import Catalog
from indexer.records import Corpus
from indexer.sources.remote import RemoteFolder, is_address
from indexer.stores.protocol import VectorEngine

_NAME = re.compile(r"[^\W_][\w-]{0,63}")
_LOCAL = ("file", "local")
"""Addresses that are folders of this machine, and are read as such."""


class CorpusRefused(AppError):
    """A name or a folder that cannot be a corpus."""


def check_name(name: str) -> None:
    """Refuse what cannot be the name of a corpus.

    Raises:
        CorpusRefused: If it is not one.
    """
    if not _NAME.fullmatch(name):
        raise CorpusRefused(
            f"{name!r} cannot be the name of a corpus; use up to 64 letters, digits, hyphens and underscores."
        )


@dataclass(frozen=True, slots=True)
class CorpusInfo:
    """One corpus as people see it.

    Attributes:
        root: The folder it is made from, or the address.
        documents: Searchable documents.
        chunks: How many passages they were cut into.
        model: Name of the embedding model it was built with; empty before the first build.
        failed_files: How many files could not be read when it was built.
        updated: When it was last built; None before the first time.
        searchable: False for a corpus that was added but not built yet.
    """

    name: str
    root: str
    documents: int
    chunks: int
    model: str
    failed_files: int
    updated: datetime | None
    searchable: bool


class CorpusService:
    """What an installation holds."""

    def __init__(self, catalog: Catalog, engine: VectorEngine, maps: Path) -> None:
        """Make it.

        Args:
            catalog: Where they are entered.
            engine: Has their indexes.
            maps: Folder of saved maps, one of each corpus in it.
        """
        self._catalog = catalog
        self._engine = engine
        self._maps = maps

    def add(self, name: str, place: Path | str, include: Sequence[str] = ()) -> Corpus:
        """Enter a folder, or a single file, as a corpus; entering the same again changes nothing.

        Args:
            name: What to call it.
            place: Its path, or its address, such as ``s3://bucket/folder``.
            include: Patterns of files, relative to it; every readable file where there are none.

        Raises:
            CorpusRefused: If the name is not a name or the path is not there.
            RemoteError: If the address cannot be a corpus, or does not answer.
            CatalogError: If the name stands for something else.
        """
        check_name(name)
        if isinstance(place, str) and is_address(place) and urlsplit(place).scheme not in _LOCAL:
            RemoteFolder(place).check()
            self._catalog.add_corpus(name, place, tuple(include))
        else:
            self._catalog.add_corpus(name, _folder(place), tuple(include))
        return self._catalog.corpus(name)

    def remove(self, name: str) -> None:
        """Forget a corpus, its index and its maps; the documents themselves are left alone.

        Raises:
            CatalogError: If there is no such corpus.
        """
        self._catalog.corpus(name)
        self._catalog.remove_corpus(name)
        self._drop_maps(name)  # after it: a map that is being made looks whether its corpus is still there
        self._engine.drop_corpus(name)

    def all(self) -> list[CorpusInfo]:
        """Every corpus by name."""
        return [self._info(corpus) for corpus in self._catalog.corpora()]

    def one(self, name: str) -> CorpusInfo:
        """One corpus.

        Raises:
            CatalogError: If there is none of that name.
        """
        return self._info(self._catalog.corpus(name))

    def failed_files(self, name: str) -> Mapping[str, str]:
        """Why files of the live generation could not be read, by uri."""
        live = self._catalog.corpus(name).live
        return {} if live is None else self._catalog.failed_files(name, live)

    def _drop_maps(self, name: str) -> None:
        doomed = self._maps / f".dropped-{name}-{secrets.token_hex(4)}"
        try:
            (self._maps / name).rename(doomed)  # so that nobody opens half of it
        except FileNotFoundError:
            return
        shutil.rmtree(doomed, ignore_errors=True)

    def _info(self, corpus: Corpus) -> CorpusInfo:
        if corpus.live is None:
            return CorpusInfo(corpus.name, corpus.place, 0, 0, "", 0, None, searchable=False)
        generation = self._catalog.generation(corpus.name, corpus.live)
        model = generation.manifest.model
        return CorpusInfo(
            name=corpus.name,
            root=corpus.place,
            documents=generation.documents,
            chunks=generation.chunks,
            model=Path(model).name if Path(model).is_absolute() else model,
            failed_files=len(self._catalog.failed_files(corpus.name, corpus.live)),
            updated=generation.created,
            searchable=True,
        )


def _folder(place: Path | str) -> Path:
    """The folder, or the file, that a path or a ``file://`` address stands for."""
    if isinstance(place, str) and is_address(place):
        address = urlsplit(place)
        if address.netloc not in ("", "localhost"):
            raise CorpusRefused(f"{place} names another machine; mount its folder here and enter that.")
        place = url2pathname(address.path)
    try:
        root = Path(place).expanduser().resolve()
        is_there = root.exists()
    except (OSError, ValueError, RuntimeError):  # too long, a NUL in it, ~nobody
        raise CorpusRefused(f"{str(place)!r} is no path; check it.") from None
    if not is_there:
        raise CorpusRefused(f"There is no folder or file {root}; check the path.")
    return root
