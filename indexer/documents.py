"""Documents of a generation, read again from the catalog: one by its id, a sample of many, all of them in order."""

from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import and_, func, select

from indexer.records import ChunkPlace, FileState, Section
from indexer.staging import in_generation
from indexer.tables import Database, DocumentRow, FileRow

_PAGE = 64
"""Documents read at a time; one may be a whole book."""


@dataclass(frozen=True, slots=True)
class HeldDocument:
    """A document as a generation holds it.

    Attributes:
        details: Its further columns or fields.
        chunks: Its passages, in order.
        file: Its file as it was when it was read; None where the catalog does not say.
    """

    id: str
    uri: str
    key: str
    title: str
    text: str
    sections: tuple[Section, ...]
    file_type: str
    language: str
    details: dict[str, str]
    chunks: tuple[ChunkPlace, ...]
    file: FileState | None = None


@dataclass(frozen=True, slots=True)
class Beginning:
    """What a document is called and how it begins."""

    title: str
    text: str


class Documents:
    """The documents of all corpora. Every method is one transaction, unless it says otherwise."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def one(self, corpus: str, number: int, document_id: str) -> HeldDocument | None:
        """A document of a generation; None where it does not hold it."""
        mine = and_(DocumentRow.corpus == corpus, in_generation(DocumentRow, number))
        with self._database.reading() as session:
            row = session.scalars(select(DocumentRow).where(mine, DocumentRow.document_id == document_id)).first()
            if row is None:
                return None
            same = and_(FileRow.corpus == corpus, FileRow.uri == row.uri, in_generation(FileRow, number))
            file = session.scalars(select(FileRow).where(same)).first()
            state = None if file is None else FileState(file.size, file.mtime_ns, file.digest, file.error)
            return _held(row, state)

    def all(self, corpus: str, number: int) -> Iterator[HeldDocument]:
        """Every document of a generation, in the order they were entered; a transaction for a few at a time."""
        mine = and_(DocumentRow.corpus == corpus, in_generation(DocumentRow, number))
        last = 0
        while True:
            query = select(DocumentRow).where(mine, DocumentRow.id > last).order_by(DocumentRow.id).limit(_PAGE)
            with self._database.reading() as session:
                rows = list(session.scalars(query))
                page = [_held(row) for row in rows]
                last = rows[-1].id if rows else last
            yield from page
            if len(page) < _PAGE:
                return

    def sample(self, corpus: str, number: int, limit: int, characters: int) -> list[Beginning]:
        """How documents of a generation begin, spread over the corpus by their ids.

        Args:
            corpus: Its name.
            number: The generation.
            limit: Most documents.
            characters: Most characters of the text of each.
        """
        mine = and_(DocumentRow.corpus == corpus, in_generation(DocumentRow, number))
        begins = func.substr(DocumentRow.text, 1, characters)
        query = select(DocumentRow.title, begins).where(mine).order_by(DocumentRow.document_id).limit(limit)
        with self._database.reading() as session:
            return [Beginning(title, text) for title, text in session.execute(query)]


def _held(row: DocumentRow, file: FileState | None = None) -> HeldDocument:
    return HeldDocument(
        id=row.document_id,
        uri=row.uri,
        key=row.key,
        title=row.title,
        text=row.text,
        sections=tuple(Section(start, end, tuple(names), page) for start, end, page, *names in row.sections),
        file_type=row.file_type,
        language=row.language,
        details=dict(row.details),
        chunks=tuple(ChunkPlace(id, start, end) for id, start, end in row.chunks),
        file=file,
    )
