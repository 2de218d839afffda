"""Near-duplicates in the catalog: the tables of signatures and bands, and the queries that find a group."""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

import numpy as np
from sqlalchemy import BigInteger, ForeignKey, and_, insert, select
from sqlalchemy.orm import Mapped, Session, aliased, mapped_column
from sqlalchemy.sql.elements import ColumnElement

from indexer.catalog.tables import Base, DocumentRow, in_lists
from indexer.duplicates import THRESHOLD, Signature, bands, from_bytes, similarity, to_bytes
from indexer.records import Duplicate

_PAIRS = 5_000
"""Most candidates looked at for a list of documents: ten thousand copies of one page need not all be named."""

_IsValid = Callable[[type[DocumentRow]], ColumnElement[bool]]


class SignatureRow(Base):
    """The signature of a document, as ``duplicates`` makes it."""

    __tablename__ = "signatures"
    document: Mapped[int] = mapped_column(ForeignKey("documents.id", ondelete="CASCADE"), primary_key=True)
    signature: Mapped[bytes]


class BandRow(Base):
    """One band of a signature, mixed with the name of the corpus: bands of two corpora never meet."""

    __tablename__ = "bands"
    document: Mapped[int] = mapped_column(ForeignKey("documents.id", ondelete="CASCADE"), primary_key=True)
    band: Mapped[int] = mapped_column(BigInteger, primary_key=True)


def add_signatures(session: Session, rows: Sequence[DocumentRow], signatures: Sequence[Signature | None]) -> None:
    """Enter the signatures of documents that were just added to the session."""
    session.flush()  # so that they have their numbers
    made = [(row, own) for row, own in zip(rows, signatures, strict=True) if own is not None]
    if made:
        session.execute(insert(SignatureRow), [{"document": row.id, "signature": to_bytes(own)} for row, own in made])
        entries = [{"document": row.id, "band": band} for row, own in made for band in _bands(row.corpus, own)]
        session.execute(insert(BandRow), entries)


def similar_documents(
    session: Session, corpus: str, document_ids: Collection[str], is_valid: _IsValid
) -> dict[str, tuple[Duplicate, ...]]:
    """The near-duplicates of documents, nearest first; documents without any are left out.

    Args:
        session: Where to look.
        corpus: Name of the corpus.
        document_ids: Of the documents asked about.
        is_valid: The condition that a document's row belongs to the generation looked at.
    """
    ids = _rows(session, corpus, document_ids, is_valid)
    pairs = list(_sharing(session, sorted(ids)))
    signatures = _signatures(session, sorted({row for pair in pairs for row in pair}))
    alike = [(asked, row, share) for asked, row, share in _compared(pairs, signatures) if share >= THRESHOLD]
    places = _places(session, sorted({row for _, row, _ in alike}), is_valid)
    found: defaultdict[str, set[Duplicate]] = defaultdict(set)
    for asked, row, share in alike:
        if row in places:
            found[ids[asked]].add(Duplicate(*places[row], share))
    return {
        document_id: tuple(sorted(duplicates, key=lambda one: (-one.similarity, one.uri, one.key)))
        for document_id, duplicates in found.items()
    }


def _rows(session: Session, corpus: str, document_ids: Collection[str], is_valid: _IsValid) -> dict[int, str]:
    """The documents asked about, by the number of their row."""
    found: dict[int, str] = {}
    for part in in_lists(sorted(document_ids)):
        query = select(DocumentRow.id, DocumentRow.document_id).where(
            DocumentRow.corpus == corpus, DocumentRow.document_id.in_(part), is_valid(DocumentRow)
        )
        found |= {row: document_id for row, document_id in session.execute(query)}
    return found


def _sharing(session: Session, rows: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Each of these rows with every other that has a band of its own; from the indexes alone."""
    own, other = aliased(BandRow), aliased(BandRow)
    for part in in_lists(rows):
        query = (
            select(own.document, other.document)
            .join(other, and_(other.band == own.band, other.document != own.document))
            .where(own.document.in_(part))
            .distinct()
            .limit(_PAIRS)
        )
        yield from ((asked, row) for asked, row in session.execute(query))


def _signatures(session: Session, rows: Sequence[int]) -> dict[int, Signature]:
    """Signatures by the number of their document's row."""
    found: dict[int, Signature] = {}
    for part in in_lists(rows):
        query = select(SignatureRow.document, SignatureRow.signature).where(SignatureRow.document.in_(part))
        found |= {row: from_bytes(stored) for row, stored in session.execute(query)}
    return found


def _compared(
    pairs: Sequence[tuple[int, int]], signatures: Mapping[int, Signature]
) -> Iterator[tuple[int, int, float]]:
    """Each pair of rows and how alike they are, all compared at once."""
    known = [(asked, row) for asked, row in pairs if asked in signatures and row in signatures]
    if known:
        first, second = (np.stack([signatures[pair[side]] for pair in known]) for side in (0, 1))
        for (asked, row), share in zip(known, similarity(first, second).tolist(), strict=True):
            yield asked, row, share


def _places(session: Session, rows: Sequence[int], is_valid: _IsValid) -> dict[int, tuple[str, str, str, str]]:
    """Id, title, uri and key of documents by the numbers of their rows."""
    found: dict[int, tuple[str, str, str, str]] = {}
    for part in in_lists(rows):
        columns = (DocumentRow.document_id, DocumentRow.title, DocumentRow.uri, DocumentRow.key)
        query = select(DocumentRow.id, *columns).where(DocumentRow.id.in_(part), is_valid(DocumentRow))
        found |= {row: (document_id, title, uri, key) for row, document_id, title, uri, key in session.execute(query)}
    return found


def _bands(corpus: str, signature: Signature) -> set[int]:
    salt = int.from_bytes(hashlib.blake2b(corpus.encode(), digest_size=8).digest(), "little", signed=True)
    return {band ^ salt for band in bands(signature)}
