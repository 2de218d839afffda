"""The catalog: what is in every corpus. It is the truth; the vector store can be made from it again.

Rows of files and documents carry the generations they belong to: made in ``first``, gone from ``retired`` on. A
build writes and retires rows for a generation that is not live yet, so nobody sees it (``staging.py``); going live
is one number. What a cancelled build leaves is swept away, and an earlier generation can be made live again with its
documents.

Every method is one transaction, unless it says otherwise, and returns plain values: no row of the mapper leaves
this file.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import and_, delete, func, literal, or_, select, update
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError

from indexer.catalog import staging
from indexer.catalog.duplicate_tables import similar_documents
from indexer.catalog.jobs import refuse_beside_run
from indexer.catalog.staging import in_generation
from indexer.catalog.tables import (
    CatalogAway,
    CatalogError,
    CorpusRow,
    Database,
    DocumentRow,
    FileRow,
    GenerationRow,
    aware,
    reason_of,
    without_secrets,
)
from indexer.records import (
    Corpus,
    Duplicate,
    FileState,
    Generation,
    KnownDocument,
    Manifest,
)

_EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
_KEPT_VERSIONS = 2
"""The live one and the one before it, to go back to."""

_PAGE = 1_000
"""Documents whose passages are read at a time."""


class Catalog:
    """The database. Safe between threads and between processes."""

    def __init__(self, url: str, *, kept_versions: int = _KEPT_VERSIONS) -> None:
        """Open the database and bring its schema up to date.

        Args:
            url: ``sqlite:///PATH`` or ``postgresql+psycopg://...``.
            kept_versions: How many finished generations of a corpus are kept.

        Raises:
            CatalogAway: If it cannot be opened.
        """
        self.kept_versions = kept_versions
        try:
            self.database = Database(url)
        except ArgumentError as error:
            raise CatalogAway(f"The catalog cannot be opened ({error}); check KALM_DATABASE_URL.") from error
        except ImportError as error:
            raise CatalogAway(
                f"The catalog cannot be opened ({error}); run pip install 'kalm-retrieval[postgres]'."
            ) from error
        except DBAPIError as error:
            raise CatalogAway(
                f"The catalog {without_secrets(url)!r} cannot be opened ({reason_of(error)}); check KALM_DATABASE_URL."
            ) from error

    def close(self) -> None:
        """Close all connections."""
        self.database.close()

    def add_corpus(self, name: str, root: Path | str, include: Sequence[str] = ()) -> None:
        """Enter a corpus of a folder or, where it is text, of an address.

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
            if (known.place, known.include) != (str(root), tuple(include)):
                raise CatalogError(
                    f"The corpus {name} already stands for {known.place}; choose another name, or remove it first "
                    f"with kalm corpus remove {name}."
                ) from error

    def remove_corpus(self, name: str) -> None:
        """Forget a corpus and everything in it."""
        with self.database.writing() as session:
            for table in (DocumentRow, FileRow, GenerationRow):
                session.execute(delete(table).where(table.corpus == name))
            session.execute(delete(CorpusRow).where(CorpusRow.name == name))

    def move_roots(self, old: Path, new: Path) -> None:
        """Have corpora whose files are in a folder of their name under ``old`` stand for such folders under ``new``."""
        before, after = (literal(f"{folder}/") + CorpusRow.name for folder in (old, new))
        with self.database.writing() as session:
            session.execute(update(CorpusRow).where(CorpusRow.root == before).values(root=after))

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
            FileRow.corpus == corpus, FileRow.error != "", in_generation(FileRow, number)
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
            return _generation(row)

    def files(self, corpus: str, number: int | None) -> dict[str, FileState]:
        """Files of a generation by uri, failed ones among them; none where there is no generation."""
        if number is None:
            return {}
        # Columns and not rows of the mapper, which for a hundred thousand files would take most of a plan's time.
        states = select(FileRow.uri, FileRow.size, FileRow.mtime_ns, FileRow.digest, FileRow.error)
        mine = and_(FileRow.corpus == corpus, in_generation(FileRow, number))
        with self.database.reading() as session:
            return {
                uri: FileState(size, mtime_ns, digest, error)
                for uri, size, mtime_ns, digest, error in session.execute(states.where(mine))
            }

    def file(self, corpus: str, number: int, uri: str) -> FileState | None:
        """One file of a generation; None where it does not have it."""
        mine = and_(FileRow.corpus == corpus, FileRow.uri == uri, in_generation(FileRow, number))
        with self.database.reading() as session:
            row = session.scalars(select(FileRow).where(mine)).first()
            return None if row is None else FileState(row.size, row.mtime_ns, row.digest, row.error)

    def known_documents(self, corpus: str, number: int, uri: str) -> dict[str, KnownDocument]:
        """Documents of one file in a generation, by document id."""
        query = select(DocumentRow.document_id, DocumentRow.digest, DocumentRow.chunks).where(
            DocumentRow.corpus == corpus, DocumentRow.uri == uri, in_generation(DocumentRow, number)
        )
        with self.database.reading() as session:
            return {
                row.document_id: KnownDocument(row.digest, tuple(chunk[0] for chunk in row.chunks))
                for row in session.execute(query)
            }

    def documents_in(
        self, corpus: str, number: int, folders: Collection[str], authors: Collection[str], limit: int
    ) -> frozenset[str] | None:
        """Ids of the documents of a generation that are in one of some folders and by one of some authors.

        Empty folders or authors mean all. A folder may come with some of another case, since databases differ in
        what they take for the same.

        Returns:
            None where they are more than ``limit``.
        """
        mine = [DocumentRow.corpus == corpus, in_generation(DocumentRow, number)]
        if folders:
            mine.append(or_(*(DocumentRow.uri.startswith(f"{folder}/", autoescape=True) for folder in sorted(folders))))
        if authors:
            mine.append(DocumentRow.details["author"].as_string().in_(sorted(authors)))
        with self.database.reading() as session:
            found = list(session.scalars(select(DocumentRow.document_id).where(*mine).limit(limit + 1)))
        return frozenset(found) if len(found) <= limit else None

    def facet(self, corpus: str, number: int, field: str, only: Mapping[str, Collection[str]]) -> list[tuple[str, int]]:
        """Documents of a generation per value of ``file_type`` or ``language``, most frequent first."""
        columns = {"file_type": DocumentRow.file_type, "language": DocumentRow.language}
        counted = func.count().label("documents")
        query = (
            select(columns[field], counted)
            .where(DocumentRow.corpus == corpus, in_generation(DocumentRow, number))
            .where(*(columns[name].in_(sorted(values)) for name, values in only.items() if values))
            .group_by(columns[field])
            .order_by(counted.desc(), columns[field])
        )
        with self.database.reading() as session:
            return [(value, count) for value, count in session.execute(query)]

    def chunk_ids(self, corpus: str, number: int) -> Iterator[tuple[str, str]]:
        """Every passage that a generation has by the catalog, with the uri of its file."""
        mine = and_(DocumentRow.corpus == corpus, in_generation(DocumentRow, number))
        query = select(DocumentRow.id, DocumentRow.uri, DocumentRow.chunks).where(mine).order_by(DocumentRow.id)
        last = 0
        while True:
            with self.database.reading() as session:
                rows = session.execute(query.where(DocumentRow.id > last).limit(_PAGE)).all()
            for _, uri, chunks in rows:
                yield from ((chunk[0], uri) for chunk in chunks)
            if len(rows) < _PAGE:
                return
            last = rows[-1].id

    def replaced_chunks(self, corpus: str, number: int) -> set[str]:
        """Ids of the passages of documents that a generation replaced or took out."""
        query = select(DocumentRow.chunks).where(DocumentRow.corpus == corpus, DocumentRow.retired == number)
        with self.database.reading() as session:
            return {chunk[0] for chunks in session.scalars(query) for chunk in chunks}

    def near_duplicates(
        self, corpus: str, number: int, document_ids: Collection[str]
    ) -> dict[str, tuple[Duplicate, ...]]:
        """Documents of a generation that say nearly the same as these, nearest first, by document id."""
        with self.database.reading() as session:
            return similar_documents(session, corpus, document_ids, lambda table: in_generation(table, number))

    def reserve(self, corpus: str, manifest: Manifest, base: int | None) -> int:
        """Enter a generation that is to be filled otherwise than by a build, and return its number.

        Args:
            corpus: Its name.
            manifest: What the generation is made with.
            base: The generation whose documents it has; None starts with none.
        """
        with self.database.writing() as session:
            return staging.begin(session, corpus, manifest, base)

    def make_live(self, corpus: str, number: int, chunks: int) -> None:
        """Seal a reserved generation and make it the one that is searched.

        Args:
            corpus: Its name.
            number: The generation.
            chunks: Passages in the store, as counted there.

        Raises:
            CatalogError: If a build that began since has swept it away.
        """
        with self.database.writing() as session:
            if session.get(GenerationRow, (corpus, number)) is None:
                raise CatalogError(f"A build of {corpus} began meanwhile; nothing was changed, run this again.")
            staging.seal(session, corpus, number, chunks)
            staging.make_live(session, corpus, number)

    def generations(self, corpus: str) -> list[Generation]:
        """All generations of a corpus that are finished, newest first."""
        mine = and_(GenerationRow.corpus == corpus, GenerationRow.sealed)
        with self.database.reading() as session:
            return [
                _generation(row)
                for row in session.scalars(select(GenerationRow).where(mine).order_by(GenerationRow.number.desc()))
            ]

    def put_in_use(self, corpus: str, number: int) -> None:
        """Search another finished generation from now on, an earlier or a later one.

        Raises:
            CatalogError: If it is not there, or not finished.
            JobError: If the corpus has a run that is not over: what it builds begins with the one in use now, and
                would take the place of the other.
        """
        with self.database.writing() as session:
            refuse_beside_run(session, corpus)
            row = session.get(GenerationRow, (corpus, number))
            if row is None or not row.sealed:
                raise CatalogError(
                    f"The corpus {corpus} has no finished version {number}; see kalm index versions {corpus}."
                )
            staging.make_live(session, corpus, number)

    def put_newest_in_use(self, corpus: str, number: int) -> bool:
        """Search a finished generation from now on that waits, and is the newest that does.

        False where it is not that any more, since it was put in use, discarded, or another came: nothing has changed.
        """
        mine = and_(GenerationRow.corpus == corpus, GenerationRow.sealed)
        with self.database.writing() as session:
            row = session.get(CorpusRow, corpus, with_for_update=True)
            newest = session.scalar(select(func.max(GenerationRow.number)).where(mine))
            if row is None or newest != number or number <= (row.live or 0):
                return False
            staging.make_live(session, corpus, number)
            return True

    def discard(self, corpus: str, number: int) -> None:
        """Undo what was entered for a generation beyond the live one; its store is the caller's to drop."""
        with self.database.writing() as session:
            staging.sweep(session, corpus, number)

    def prune(self, corpus: str) -> list[int]:
        """Forget what is older than the finished generations that are kept and the live one. Returns its numbers.

        The live one may be an earlier one by now: somebody may have gone back since the caller's was put in use.
        """
        mine = GenerationRow.corpus == corpus
        finished = select(GenerationRow.number).where(mine, GenerationRow.sealed).order_by(GenerationRow.number.desc())
        with self.database.writing() as session:
            live = session.scalar(select(CorpusRow.live).where(CorpusRow.name == corpus))
            newest = session.scalars(finished.limit(self.kept_versions)).all()
            oldest = min((*newest, *([] if live is None else [live])), default=0)
            older = and_(mine, GenerationRow.number < oldest)
            dropped = list(session.scalars(select(GenerationRow.number).where(older).order_by(GenerationRow.number)))
            session.execute(delete(GenerationRow).where(older))
            for table in (FileRow, DocumentRow):
                session.execute(delete(table).where(table.corpus == corpus, table.retired <= oldest))
            return dropped


def _generation(row: GenerationRow) -> Generation:
    return Generation(
        number=row.number,
        manifest=Manifest(**row.manifest),
        sealed=row.sealed,
        documents=row.documents,
        chunks=row.chunks,
        created=aware(row.created),
    )


def _corpus(row: CorpusRow) -> Corpus:
    url = row.root if "://" in row.root else ""  # no path of a folder has two slashes in a row
    return Corpus(row.name, Path(row.root), tuple(row.include), row.live, url, row.created)
