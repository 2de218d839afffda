"""A corpus of the tests' own in a catalog, without an index: documents in generations, and their files."""

import uuid
from collections.abc import Sequence
from pathlib import Path

from indexer.catalog import staging
from indexer.catalog.corpora import Catalog
from indexer.records import ChunkPlace, Document, FileOutcome, FileState, IndexedDocument, Manifest, Section

MANIFEST = Manifest("tiny", "f", 8, "float32", 256, "c1", "r1", "l1", "edge")


class Shelf:
    """The corpus ``books`` under a folder."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "books"
        self.root.mkdir()
        self.catalog = Catalog(f"sqlite:///{folder / 'catalog.sqlite'}")
        self.catalog.add_corpus("books", self.root, ())

    def put(self, *documents: IndexedDocument) -> int:
        """Make a generation with these documents beside those there are, and search it from now on."""
        base = self.catalog.live_number("books")
        number = self.catalog.reserve("books", MANIFEST, base)
        for each in documents:
            path = self.root / each.document.uri
            status = path.lstat() if path.is_symlink() or path.exists() else None
            state = FileState(status.st_size, status.st_mtime_ns, "d") if status else FileState(1, 2, "d")
            with self.catalog.database.writing() as session:
                staging.stage(session, "books", number, base, {each.document.uri: FileOutcome(state, "", (each,))})
        self.catalog.make_live("books", number, 0)
        return number


def document(
    uri: str,
    text: str = "Bees make honey.",
    *,
    title: str = "",
    sections: Sequence[Section] = (),
    chunks: Sequence[tuple[int, int]] = (),
    **more: object,
) -> IndexedDocument:
    """A document whose passages are these stretches of its text, by default all of it."""
    made = Document(
        uri=uri,
        title=title or uri,
        text=text,
        sections=tuple(sections) or (Section(0, len(text)),),
        **({"file_type": "text", "language": "en"} | more),
    )
    places = tuple(
        ChunkPlace(str(uuid.uuid5(uuid.NAMESPACE_URL, f"{uri} {start} {text}")), start, end)
        for start, end in chunks or [(0, len(text))]
    )
    return IndexedDocument(made.id("books"), made, "1", places)
