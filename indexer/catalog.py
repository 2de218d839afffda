"""The catalog: what is in every corpus. It is the truth; the vector store can be made from it again.

Rows of files and documents carry the generations they belong to: made in ``first``, gone from ``retired`` on. A
build writes rows of a generation that is not live yet, so nobody sees them; going live is one row flipped in the
transaction that also retires what was replaced. A build that dies leaves rows that the next one sweeps away, and
an earlier generation can be made live again with its documents.

Every method is one transaction and returns plain values: no row of the mapper leaves this file.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import and_, delete, func, or_, select, update
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError
from sqlalchemy.orm import Session
from sqlalchemy.sql.elements import ColumnElement

from embedder.errors import AppError
from indexer.records import Corpus, FileState, Generation, IndexedDocument, KnownDocument, Manifest
from indexer.tables import CorpusRow, Database, DocumentRow, FileRow, GenerationRow

_EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


class CatalogError(AppError):
    """Something is not, or already is, in the catalog."""


_Versioned = type[FileRow] | type[DocumentRow]


class Catalog:
    """The database. Safe between threads and between processes."""

    def __init__(self, url: str) -> None:
        """Open the database and bring its schema up to date.

        Args:
            url: ``sqlite:///PATH`` or ``postgresql+psycopg://...``.

        Raises:
            CatalogError: If it cannot be opened.
        """
        try:
            self.database = Database(url)
        except (ArgumentError, DBAPIError, ImportError) as error:
            reason = str(error).splitlines()[0]
            raise CatalogError(f"The catalog {url!r} cannot be opened ({reason}); check KALM_DATABASE_URL.") from error

    def close(self) -> None:
        """Close all connections."""
        self.database.close()

    def add_corpus(self, name: str, root: Path, include: Sequence[str] = ()) -> None:
        """Enter a corpus.

        Raises:
            CatalogError: If the name is taken by a corpus of another folder or other patterns.
        """
        now = datetime.now(UTC)
        # Counted on from the clock: a corpus removed and entered again must not reuse a number that a running
        # server still has open as something else.
        counter = int((now - _EPOCH).total_seconds())
        row = CorpusRow(name=name, root=str(root), include=list(include), live=None, counter=counter, created=now)
        try:
            with self.database.writing() as session:
                session.add(row)
        except IntegrityError as error:
            known = self.corpus(name)
            if (known.root, known.include) != (root, tuple(include)):
                raise CatalogError(
                    f"The corpus {name} already stands for {known.root}; choose another name, or remove it first "
                    f"with kalm corpus remove {name}."
                ) from error

    def remove_corpus(self, name: str) -> None:
        """Forget a corpus and everything in it."""
        with self.database.writing() as session:
            for table in (DocumentRow, FileRow, GenerationRow):
                session.execute(delete(table).where(table.corpus == name))
            session.execute(delete(CorpusRow).where(CorpusRow.name == name))

    def corpora(self) -> list[Corpus]:
        """All corpora by name."""
        with self.database.reading() as session:
            return [_corpus(row) for row in session.scalars(select(CorpusRow).order_by(CorpusRow.name))]

    def corpus(self, name: str) -> Corpus:
        """One corpus.

        Raises:
            CatalogError: If there is none of that name.
        """
        with self.database.reading() as session:
            row = session.get(CorpusRow, name)
            if row is not None:
                return _corpus(row)
            names = session.scalars(select(CorpusRow.name).order_by(CorpusRow.name)).all()
        there = f"there are {', '.join(names)}" if names else "there are none yet: kalm corpus add NAME PATH makes one"
        raise CatalogError(f"There is no corpus {name}; {there}.")

    def live_number(self, corpus: str) -> int | None:
        """Number of the generation that is searched: one row, read before every search."""
        with self.database.reading() as session:
            return session.scalar(select(CorpusRow.live).where(CorpusRow.name == corpus))

    def failed_files(self, corpus: str, number: int) -> dict[str, str]:
        """Why files of a generation could not be read, by uri."""
        query = select(FileRow.uri, FileRow.error).where(
            FileRow.corpus == corpus, FileRow.error != "", _in_generation(FileRow, number)
        )
        with self.database.reading() as session:
            return {uri: error for uri, error in session.execute(query.order_by(FileRow.uri))}

    def generation(self, corpus: str, number: int) -> Generation:
        """One generation.

        Raises:
            CatalogError: If it is not there, or no longer.
        """
        with self.database.reading() as session:
            row = session.get(GenerationRow, (corpus, number))
            if row is None:
                raise CatalogError(f"The corpus {corpus} has no generation {number}; run kalm index build {corpus}.")
            return Generation(row.number, Manifest(**row.manifest), row.documents, row.chunks, _aware(row.created))

    def files(self, corpus: str, number: int | None) -> dict[str, FileState]:
        """Files of a generation by uri, failed ones among them; none where there is no generation."""
        if number is None:
            return {}
        query = select(FileRow).where(FileRow.corpus == corpus, _in_generation(FileRow, number))
        with self.database.reading() as session:
            rows = session.scalars(query)
            return {row.uri: FileState(row.size, row.mtime_ns, row.digest, row.error) for row in rows}

    def known_documents(self, corpus: str, number: int, uri: str) -> dict[str, KnownDocument]:
        """Documents of one file in a generation, by document id."""
        query = select(DocumentRow.document_id, DocumentRow.digest, DocumentRow.chunks).where(
            DocumentRow.corpus == corpus, DocumentRow.uri == uri, _in_generation(DocumentRow, number)
        )
        with self.database.reading() as session:
            return {
                row.document_id: KnownDocument(row.digest, tuple(chunk[0] for chunk in row.chunks))
                for row in session.execute(query)
            }

    def titles(self, corpus: str, limit: int) -> list[str]:
        """Titles of documents of the live generation, spread over the corpus by their ids."""
        live = self.corpus(corpus).live
        if live is None:
            return []
        mine = and_(DocumentRow.corpus == corpus, _in_generation(DocumentRow, live))
        query = select(DocumentRow.title).where(mine).order_by(DocumentRow.document_id).limit(limit)
        with self.database.reading() as session:
            return list(session.scalars(query))

    def facet(self, corpus: str, number: int, field: str, only: Mapping[str, Collection[str]]) -> list[tuple[str, int]]:
        """Documents of a generation per value of ``file_type`` or ``language``, most frequent first."""
        columns = {"file_type": DocumentRow.file_type, "language": DocumentRow.language}
        counted = func.count().label("documents")
        query = (
            select(columns[field], counted)
            .where(DocumentRow.corpus == corpus, _in_generation(DocumentRow, number))
            .where(*(columns[name].in_(sorted(values)) for name, values in only.items() if values))
            .group_by(columns[field])
            .order_by(counted.desc(), columns[field])
        )
        with self.database.reading() as session:
            return [(value, count) for value, count in session.execute(query)]

    def unsealed(self, corpus: str) -> list[int]:
        """Numbers of generations that a build began and did not finish."""
        mine = and_(GenerationRow.corpus == corpus, GenerationRow.sealed.is_(False))
        with self.database.reading() as session:
            return list(session.scalars(select(GenerationRow.number).where(mine)))

    def begin(self, corpus: str, manifest: Manifest) -> int:
        """Enter a new generation and sweep away what an earlier build left unfinished. Returns its number."""
        with self.database.writing() as session:
            row = session.get_one(CorpusRow, corpus)
            live = row.live or 0
            for table in (FileRow, DocumentRow):
                session.execute(delete(table).where(table.corpus == corpus, table.first > live))
                mine = and_(table.corpus == corpus, table.retired > live)
                session.execute(update(table).where(mine).values(retired=None))
            unfinished = and_(GenerationRow.corpus == corpus, GenerationRow.number > live)
            session.execute(delete(GenerationRow).where(unfinished))
            row.counter += 1
            entry = asdict(manifest)
            session.add(GenerationRow(corpus=corpus, number=row.counter, manifest=entry, created=datetime.now(UTC)))
            return row.counter

    def stage(self, corpus: str, number: int, documents: Iterable[IndexedDocument]) -> None:
        """Write documents of a generation that is not live yet."""
        with self.database.writing() as session:
            session.add_all(_document_row(corpus, number, indexed) for indexed in documents)

    def commit(
        self,
        corpus: str,
        number: int,
        *,
        files: Mapping[str, FileState],
        gone_uris: Collection[str],
        replaced_documents: Collection[str],
        everything_replaced: bool,
        chunks: int,
    ) -> None:
        """Make a generation live, in one transaction.

        Args:
            corpus: Its name.
            number: The generation, as ``begin`` gave it.
            files: Files read in this build, failed ones among them.
            gone_uris: Files that are no longer there.
            replaced_documents: Ids of documents whose earlier version, if any, is gone.
            everything_replaced: Whether nothing of the earlier generations is carried over.
            chunks: Passages in the store, as counted there.
        """
        with self.database.writing() as session:
            if everything_replaced:
                _retire(session, FileRow, corpus, number, None, ())
                _retire(session, DocumentRow, corpus, number, None, ())
            else:
                _retire(session, FileRow, corpus, number, "uri", [*files, *gone_uris])
                _retire(session, DocumentRow, corpus, number, "document_id", replaced_documents)
            session.add_all(
                FileRow(corpus=corpus, uri=uri, first=number, retired=None, **asdict(state))
                for uri, state in files.items()
            )
            session.flush()
            generation = session.get_one(GenerationRow, (corpus, number))
            generation.sealed, generation.chunks = True, chunks
            generation.documents = session.scalar(
                select(func.count())
                .select_from(DocumentRow)
                .where(DocumentRow.corpus == corpus, _in_generation(DocumentRow, number))
            ) or 0  # fmt: skip
            session.get_one(CorpusRow, corpus).live = number

    def prune(self, corpus: str, keep: int) -> list[int]:
        """Forget all but the newest ``keep`` generations, and rows only the others had. Returns their numbers."""
        mine = GenerationRow.corpus == corpus
        with self.database.writing() as session:
            numbers = list(session.scalars(select(GenerationRow.number).where(mine).order_by(GenerationRow.number)))
            dropped, oldest = numbers[:-keep], numbers[-keep:][0]
            session.execute(delete(GenerationRow).where(mine, GenerationRow.number < oldest))
            for table in (FileRow, DocumentRow):
                session.execute(delete(table).where(table.corpus == corpus, table.retired <= oldest))
            return dropped


def _in_generation(table: _Versioned, number: int) -> ColumnElement[bool]:
    return and_(table.first <= number, or_(table.retired.is_(None), table.retired > number))


def _retire(
    session: Session, table: _Versioned, corpus: str, number: int, column: str | None, values: Collection[str]
) -> None:
    """End the rows made before this generation: all of them, or those with these values of a column."""
    earlier = and_(table.corpus == corpus, table.first < number, table.retired.is_(None))
    if column is None:
        session.execute(update(table).where(earlier).values(retired=number))
        return
    listed = sorted(values)
    for start in range(0, len(listed), 500):  # databases bound the length of a list
        mine = getattr(table, column).in_(listed[start : start + 500])
        session.execute(update(table).where(earlier, mine).values(retired=number))


def _document_row(corpus: str, number: int, indexed: IndexedDocument) -> DocumentRow:
    document = indexed.document
    return DocumentRow(
        corpus=corpus,
        document_id=indexed.id,
        uri=document.uri,
        key=document.key,
        title=document.title,
        text=document.text,
        sections=[[section.start, section.end, section.page, *section.headings] for section in document.sections],
        file_type=document.file_type,
        language=document.language,
        details=dict(document.metadata),
        digest=indexed.digest,
        chunks=[[chunk.id, chunk.start, chunk.end] for chunk in indexed.chunks],
        first=number,
        retired=None,
    )


def _corpus(row: CorpusRow) -> Corpus:
    return Corpus(row.name, Path(row.root), tuple(row.include), row.live)


def _aware(moment: datetime) -> datetime:
    """SQLite forgets the zone; everything here is UTC."""
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
