"""Labels of documents and passages: what a map or a classifier said of them. In the catalog's database.

A label set belongs to a corpus and outlives its generations: passages that stay keep their id, and so their label.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ForeignKey, delete, func, insert, select, update
from sqlalchemy.orm import Mapped, Session, mapped_column

from embedder.errors import AppError
from indexer.catalog.tables import Base, Database, aware

_ASKED_AT_ONCE = 900
"""Items in one question: databases bound the values of a statement."""


class LabelsRefused(AppError):
    """A label set that is not there, or a name that is taken."""


class Unit(StrEnum):
    """What carries the labels of a set."""

    DOCUMENT = "document"
    PASSAGE = "passage"


class LabelSetRow(Base):
    """A set of labels over one corpus."""

    __tablename__ = "label_sets"
    id: Mapped[int] = mapped_column(primary_key=True)
    corpus: Mapped[str] = mapped_column(ForeignKey("corpora.name", ondelete="CASCADE"))
    name: Mapped[str]
    kind: Mapped[str]
    unit: Mapped[str]
    details: Mapped[dict[str, Any]]
    created: Mapped[datetime]


class LabelRow(Base):
    """The label of one item."""

    __tablename__ = "labels"
    label_set: Mapped[int] = mapped_column(ForeignKey("label_sets.id", ondelete="CASCADE"), primary_key=True)
    item: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[str]
    score: Mapped[float]


@dataclass(frozen=True, slots=True)
class LabelSet:
    """A set of labels as people see it.

    Attributes:
        name: Unique in its corpus.
        kind: What made it, e.g. ``map`` or ``classifier``.
        unit: Whether its items are ids of documents or of passages.
        details: How it was made; whatever JSON can hold.
    """

    id: int
    corpus: str
    name: str
    kind: str
    unit: Unit
    details: Mapping[str, Any]
    created: datetime


@dataclass(frozen=True, slots=True)
class Label:
    """What a set says of one item.

    Attributes:
        item: Id of a document or a passage.
        value: The label.
        score: How sure whoever gave it was, 0 to 1.
    """

    item: str
    value: str
    score: float = 1.0


class LabelTable:
    """All label sets. Every method is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(
        self, corpus: str, name: str, kind: str, unit: Unit, details: Mapping[str, Any], labels: Iterable[Label]
    ) -> LabelSet:
        """Enter a set, in the place of one of the same name and kind.

        Raises:
            LabelsRefused: If a set of another kind has that name.
        """
        rows = [{"item": label.item, "value": label.value, "score": label.score} for label in labels]
        with self._database.writing() as session:
            taken = session.scalars(_named(corpus, name)).one_or_none()
            if taken is not None and taken.kind != kind:
                raise LabelsRefused(f"The name {name} is that of a {taken.kind} of {corpus}; choose another.")
            if taken is not None:
                session.execute(delete(LabelSetRow).where(LabelSetRow.id == taken.id))
            row = LabelSetRow(
                corpus=corpus, name=name, kind=kind, unit=unit.value, details=dict(details), created=datetime.now(UTC)
            )
            session.add(row)
            session.flush()
            if rows:
                session.execute(insert(LabelRow), [values | {"label_set": row.id} for values in rows])
            return _label_set(row)

    def sets(self, corpus: str, kind: str = "") -> list[LabelSet]:
        """The sets of a corpus, of one kind or all, by name."""
        with self._database.reading() as session:
            rows = session.scalars(
                select(LabelSetRow).where(LabelSetRow.corpus == corpus).order_by(LabelSetRow.name)
            ).all()
            return [_label_set(row) for row in rows if not kind or row.kind == kind]

    def one(self, corpus: str, name: str) -> LabelSet:
        """The set of a name.

        Raises:
            LabelsRefused: If there is none.
        """
        with self._database.reading() as session:
            return _label_set(_row(session, corpus, name))

    def drop(self, corpus: str, name: str) -> None:
        """Forget a set.

        Raises:
            LabelsRefused: If there is none.
        """
        with self._database.writing() as session:
            session.execute(delete(LabelSetRow).where(LabelSetRow.id == _row(session, corpus, name).id))

    def rename_value(self, corpus: str, name: str, old: str, new: str) -> None:
        """Give a label of a set another name; taking one that is there joins the two.

        Raises:
            LabelsRefused: If there is no such set.
        """
        with self._database.writing() as session:
            which = _row(session, corpus, name).id
            session.execute(
                update(LabelRow).where(LabelRow.label_set == which, LabelRow.value == old).values(value=new)
            )

    def counts(self, corpus: str, name: str) -> dict[str, int]:
        """How many items each label of a set has, most frequent first.

        Raises:
            LabelsRefused: If there is no such set.
        """
        with self._database.reading() as session:
            which = _row(session, corpus, name).id
            number = func.count()
            rows = session.execute(
                select(LabelRow.value, number)
                .where(LabelRow.label_set == which)
                .group_by(LabelRow.value)
                .order_by(number.desc(), LabelRow.value)
            )
            return {value: count for value, count in rows}

    def items(self, corpus: str, name: str, values: Iterable[str] | None = None) -> dict[str, Label]:
        """The labels of a set by item: those with one of some values, or all.

        Raises:
            LabelsRefused: If there is no such set.
        """
        with self._database.reading() as session:
            asked = select(LabelRow).where(LabelRow.label_set == _row(session, corpus, name).id)
            if values is not None:
                asked = asked.where(LabelRow.value.in_(list(values)))
            return {row.item: Label(row.item, row.value, row.score) for row in session.scalars(asked)}

    def of(self, corpus: str, name: str, items: Sequence[str]) -> dict[str, Label]:
        """What a set says of some items; those it says nothing of are left out.

        Raises:
            LabelsRefused: If there is no such set.
        """
        found: dict[str, Label] = {}
        with self._database.reading() as session:
            which = _row(session, corpus, name).id
            for start in range(0, len(items), _ASKED_AT_ONCE):
                some = list(items[start : start + _ASKED_AT_ONCE])
                asked = select(LabelRow).where(LabelRow.label_set == which, LabelRow.item.in_(some))
                found |= {row.item: Label(row.item, row.value, row.score) for row in session.scalars(asked)}
        return found


def _named(corpus: str, name: str) -> Any:  # noqa: ANN401 - a select of SQLAlchemy
    return select(LabelSetRow).where(LabelSetRow.corpus == corpus, LabelSetRow.name == name)


def _row(session: Session, corpus: str, name: str) -> LabelSetRow:
    row: LabelSetRow | None = session.scalars(_named(corpus, name)).one_or_none()
    if row is None:
        raise LabelsRefused(f"There are no labels {name} of {corpus}; see the map and the classifiers for which are.")
    return row


def _label_set(row: LabelSetRow) -> LabelSet:
    return LabelSet(row.id, row.corpus, row.name, row.kind, Unit(row.unit), row.details, aware(row.created))
