"""Documents of a generation, read again from the catalog: some by their ids, how they begin, all of them in order."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from sqlalchemy import ColumnElement, and_, func, select

from indexer.catalog.staging import in_generation
from indexer.catalog.tables import Database, DocumentRow
from indexer.records import ChunkPlace, Document, IndexedDocument, Section

_PAGE = 64
"""Documents read at a time; one may be a whole book."""


@dataclass(frozen=True, slots=True)
class Beginning:
    """What a document is called and how it begins."""

    id: str
    title: str
    text: str


class Documents:
    """The documents of all corpora. Every method is one transaction, unless it says otherwise."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def one(self, corpus: str, number: int, document_id: str) -> IndexedDocument | None:
        """A document of a generation; None where it does not hold it."""
        return self.some(corpus, number, [document_id]).get(document_id)

    def some(self, corpus: str, number: int, document_ids: Collection[str]) -> dict[str, IndexedDocument]:
        """Some documents of a generation by id; those that it does not have are left out."""
        query = select(DocumentRow).where(_held(corpus, number), DocumentRow.document_id.in_(sorted(document_ids)))
        with self._database.reading() as session:
            return {row.document_id: _indexed(row) for row in session.scalars(query)}

    def all(self, corpus: str, number: int) -> Iterator[IndexedDocument]:
        """Every document of a generation, in the order they were entered; a transaction for a few at a time."""
        return self._in_order(_held(corpus, number))

    def staged(self, corpus: str, number: int) -> Iterator[IndexedDocument]:
        """Documents that were new or changed in a generation, as ``all`` gives them."""
        return self._in_order(and_(DocumentRow.corpus == corpus, DocumentRow.first == number))

    def beginnings(self, corpus: str, number: int, characters: int, limit: int | None = None) -> list[Beginning]:
        """How documents of a generation begin, spread over the corpus by their ids.

        Args:
            corpus: Its name.
            number: The generation.
            characters: Most characters of the text of each.
            limit: Most documents; None for all.
        """
        begins = func.substr(DocumentRow.text, 1, characters)
        query = select(DocumentRow.document_id, DocumentRow.title, begins).where(_held(corpus, number))
        with self._database.reading() as session:
            found = session.execute(query.order_by(DocumentRow.document_id).limit(limit))
            return [Beginning(id, title, text) for id, title, text in found]

    def _in_order(self, mine: ColumnElement[bool]) -> Iterator[IndexedDocument]:
        last = 0
        while True:  # a page to a transaction: whoever reads them takes long
            query = select(DocumentRow).where(mine, DocumentRow.id > last).order_by(DocumentRow.id).limit(_PAGE)
            with self._database.reading() as session:
                rows = list(session.scalars(query))
                page = [_indexed(row) for row in rows]
                last = rows[-1].id if rows else last
            yield from page
            if len(page) < _PAGE:
                return


def _held(corpus: str, number: int) -> ColumnElement[bool]:
    return and_(DocumentRow.corpus == corpus, in_generation(DocumentRow, number))


def _indexed(row: DocumentRow) -> IndexedDocument:
    document = Document(
        uri=row.uri,
        key=row.key,
        title=row.title,
        text=row.text,
        sections=tuple(Section(start, end, tuple(names), page) for start, end, page, *names in row.sections),
        file_type=row.file_type,
        language=row.language,
        metadata=dict(row.details),
    )
    places = tuple(ChunkPlace(id, start, end) for id, start, end in row.chunks)
    return IndexedDocument(row.document_id, document, row.digest, places)
