"""What people leave behind at the search page: questions, saved searches, judgments. In the catalog's database.

Every note belongs to a person and to a corpus, and goes with the corpus. No two of a kind say the same: there is one
writer at a time, who looks before it writes. The database could not see to it, since a question may be longer than
what it takes for a key.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ForeignKey, delete, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from embedder.errors import AppError
from indexer.catalog.tables import Base, Database, aware

KEPT_QUERIES = 100
"""Questions remembered of each person in each corpus; older ones are forgotten."""

MOST_SAVED = 100
"""Searches that a person may keep."""


class NoteRefused(AppError):
    """A saved search that is not there, or cannot be kept."""


class QueryRow(Base):
    """A question somebody asked, as they asked it last."""

    __tablename__ = "query_history"
    id: Mapped[int] = mapped_column(primary_key=True)
    person: Mapped[str]
    corpus: Mapped[str] = mapped_column(ForeignKey("corpora.name", ondelete="CASCADE"))
    query: Mapped[str]
    state: Mapped[dict[str, Any]]
    asked: Mapped[datetime]


class SavedRow(Base):
    """A search somebody keeps."""

    __tablename__ = "saved_searches"
    id: Mapped[int] = mapped_column(primary_key=True)
    person: Mapped[str]
    corpus: Mapped[str] = mapped_column(ForeignKey("corpora.name", ondelete="CASCADE"))
    name: Mapped[str]
    state: Mapped[dict[str, Any]]
    request: Mapped[dict[str, Any]]
    seen: Mapped[list[Any]]
    fresh: Mapped[list[Any]]
    unread: Mapped[bool]
    checked: Mapped[int | None]
    created: Mapped[datetime]


class JudgmentRow(Base):
    """What somebody said of a passage as the answer to a question."""

    __tablename__ = "judgments"
    id: Mapped[int] = mapped_column(primary_key=True)
    person: Mapped[str]
    corpus: Mapped[str] = mapped_column(ForeignKey("corpora.name", ondelete="CASCADE"))
    query: Mapped[str]
    document_id: Mapped[str]
    passage_id: Mapped[str]
    uri: Mapped[str]
    title: Mapped[str]
    text: Mapped[str]
    grade: Mapped[int]
    generation: Mapped[int]
    model: Mapped[str]
    created: Mapped[datetime]


@dataclass(frozen=True, slots=True)
class PastQuery:
    """A question somebody asked.

    Attributes:
        state: The parameters of the page's address.
        asked: When they asked it last.
    """

    corpus: str
    query: str
    state: Mapping[str, Any]
    asked: datetime


@dataclass(frozen=True, slots=True)
class SavedSearch:
    """A search somebody keeps, and what it found.

    Attributes:
        name: Unique among the person's.
        state: The parameters of the page's address.
        request: What is asked when it is run again, as JSON.
        seen: Ids of documents it found before, the latest first.
        fresh: Ids of those it found anew when it was last run.
        unread: Whether nobody has looked at these yet.
        checked: The generation it was last run on; None before the first time.
    """

    id: int
    corpus: str
    name: str
    state: Mapping[str, Any]
    request: Mapping[str, Any]
    seen: tuple[str, ...] = ()
    fresh: tuple[str, ...] = ()
    unread: bool = False
    checked: int | None = None


@dataclass(frozen=True, slots=True)
class Judgment:
    """What somebody said of a passage as the answer to a question.

    Attributes:
        uri: File of the document.
        text: The passage, which is kept for when the index no longer has it.
        grade: 0 where it does not answer the question, higher the better it does.
        generation: The one that found it, and ``model`` what that was made with.
    """

    person: str
    corpus: str
    query: str
    document_id: str
    passage_id: str
    uri: str
    title: str
    text: str
    grade: int
    generation: int
    model: str
    created: datetime

    @property
    def is_relevant(self) -> bool:
        """Whether the passage answers the question at all."""
        return self.grade > 0


class NoteTable:
    """All notes. Every method is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def remember(self, person: str, corpus: str, query: str, state: Mapping[str, Any]) -> None:
        """Put a question on top of somebody's history; beyond ``KEPT_QUERIES`` the oldest go."""
        with self._database.writing() as session:
            mine = (QueryRow.person == person, QueryRow.corpus == corpus)
            session.execute(delete(QueryRow).where(*mine, QueryRow.query == query))
            session.add(QueryRow(person=person, corpus=corpus, query=query, state=dict(state), asked=datetime.now(UTC)))
            session.flush()
            oldest = select(QueryRow.id).where(*mine).order_by(QueryRow.id.desc()).offset(KEPT_QUERIES - 1).limit(1)
            session.execute(delete(QueryRow).where(*mine, QueryRow.id < oldest.scalar_subquery()))

    def history(self, person: str, corpus: str, limit: int = KEPT_QUERIES) -> list[PastQuery]:
        """Somebody's questions to a corpus, the latest first."""
        mine = (QueryRow.person == person, QueryRow.corpus == corpus)
        with self._database.reading() as session:
            rows = session.scalars(select(QueryRow).where(*mine).order_by(QueryRow.id.desc()).limit(limit))
            return [PastQuery(row.corpus, row.query, row.state, aware(row.asked)) for row in rows]

    def forget_history(self, person: str, corpus: str) -> None:
        """Forget all of somebody's questions to a corpus."""
        with self._database.writing() as session:
            session.execute(delete(QueryRow).where(QueryRow.person == person, QueryRow.corpus == corpus))

    def save(self, person: str, search: SavedSearch) -> SavedSearch:
        """Keep a search, in the place of the person's own of the same name.

        Args:
            person: Whose it is.
            search: The search; its ``id`` does not matter.

        Raises:
            NoteRefused: If the person keeps ``MOST_SAVED`` already.
        """
        with self._database.writing() as session:
            mine = SavedRow.person == person
            session.execute(delete(SavedRow).where(mine, SavedRow.name == search.name))
            if len(session.scalars(select(SavedRow.id).where(mine)).all()) >= MOST_SAVED:
                raise NoteRefused(f"There are {MOST_SAVED} saved searches already; remove one you no longer need.")
            row = SavedRow(person=person, created=datetime.now(UTC), **_saved_values(search))
            session.add(row)
            session.flush()
            return _saved(row)

    def saved(self, person: str) -> list[SavedSearch]:
        """Somebody's searches, by corpus and name."""
        query = select(SavedRow).where(SavedRow.person == person).order_by(SavedRow.corpus, SavedRow.name)
        with self._database.reading() as session:
            return [_saved(row) for row in session.scalars(query)]

    def update_saved(self, person: str, search: SavedSearch) -> None:
        """Write down what a search found, and whether somebody looked; one removed meanwhile stays removed."""
        with self._database.writing() as session:
            row = _saved_row(session, person, search.id)
            if row is not None:
                for name, value in _saved_values(search).items():
                    setattr(row, name, value)

    def drop_saved(self, person: str, id: int) -> None:
        """Forget a search.

        Raises:
            NoteRefused: If the person has none of that number.
        """
        with self._database.writing() as session:
            row = _saved_row(session, person, id)
            if row is None:
                raise NoteRefused("This saved search is no longer there; load the page again.")
            session.delete(row)

    def judge(self, judgment: Judgment) -> None:
        """Enter a judgment, in the place of what the person said of the same passage before."""
        with self._database.writing() as session:
            _withdraw(session, judgment.person, judgment.corpus, judgment.query, judgment.passage_id)
            session.add(JudgmentRow(**{name: getattr(judgment, name) for name in Judgment.__dataclass_fields__}))

    def withdraw(self, person: str, corpus: str, query: str, passage_id: str) -> None:
        """Take back what somebody said of a passage, if they said anything."""
        with self._database.writing() as session:
            _withdraw(session, person, corpus, query, passage_id)

    def judged(self, person: str, corpus: str, query: str) -> dict[str, int]:
        """The grades somebody gave to answers to a question, by passage id."""
        mine = (JudgmentRow.person == person, JudgmentRow.corpus == corpus, JudgmentRow.query == query)
        with self._database.reading() as session:
            rows = session.execute(select(JudgmentRow.passage_id, JudgmentRow.grade).where(*mine))
            return {passage_id: grade for passage_id, grade in rows}

    def judgments(self, corpus: str) -> list[Judgment]:
        """Everybody's judgments of a corpus, in the order they were given."""
        query = select(JudgmentRow).where(JudgmentRow.corpus == corpus).order_by(JudgmentRow.id)
        with self._database.reading() as session:
            return [_judgment(row) for row in session.scalars(query)]


def _withdraw(session: Session, person: str, corpus: str, query: str, passage_id: str) -> None:
    mine = (JudgmentRow.person == person, JudgmentRow.corpus == corpus, JudgmentRow.query == query)
    session.execute(delete(JudgmentRow).where(*mine, JudgmentRow.passage_id == passage_id))


def _saved_row(session: Session, person: str, id: int) -> SavedRow | None:
    mine = (SavedRow.person == person, SavedRow.id == id)
    row: SavedRow | None = session.scalars(select(SavedRow).where(*mine)).one_or_none()
    return row


def _saved_values(search: SavedSearch) -> dict[str, Any]:
    as_lists: Mapping[str, Sequence[str]] = {"seen": search.seen, "fresh": search.fresh}
    return {
        "corpus": search.corpus,
        "name": search.name,
        "state": dict(search.state),
        "request": dict(search.request),
        "unread": search.unread,
        "checked": search.checked,
        **{name: list(ids) for name, ids in as_lists.items()},
    }


def _saved(row: SavedRow) -> SavedSearch:
    return SavedSearch(
        id=row.id,
        corpus=row.corpus,
        name=row.name,
        state=row.state,
        request=row.request,
        seen=tuple(row.seen),
        fresh=tuple(row.fresh),
        unread=row.unread,
        checked=row.checked,
    )


def _judgment(row: JudgmentRow) -> Judgment:
    values = {name: getattr(row, name) for name in Judgment.__dataclass_fields__}
    return Judgment(**values | {"created": aware(row.created)})
