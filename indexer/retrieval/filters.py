"""Filters that the engine cannot judge by itself: folders, authors, labels, and documents that are left out.

They are checked on the passages found. Where the documents that can meet them are few enough to be named, the engine
is asked for these alone, so that none of them lies too deep in the ranking to be found.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from indexer.catalog.corpora import Catalog
from indexer.catalog.label_tables import LabelTable, Unit
from indexer.retrieval.fusion import Ranked
from indexer.retrieval.results import SearchRequest

MOST_NAMED = 1_000
"""Documents named to the engine at most."""


@dataclass(frozen=True, slots=True)
class LabelFilter:
    """One of some labels of a set.

    Attributes:
        version: Changes when the set is made anew.
        items: How many documents or passages of the corpus have one of the labels.
    """

    name: str
    unit: Unit
    version: str
    values: frozenset[str]
    items: int


@dataclass(frozen=True, slots=True)
class Filters:
    """What a passage must meet. A value: two that are alike let the same passages through.

    Attributes:
        without: Ids of documents that are not to be found.
    """

    corpus: str
    folders: frozenset[str]
    authors: frozenset[str]
    labels: tuple[LabelFilter, ...]
    without: frozenset[str]

    def __bool__(self) -> bool:
        return bool(self.folders or self.authors or self.labels or self.without)

    def documents(self, catalog: Catalog, table: LabelTable, number: int) -> frozenset[str] | None:
        """The only documents of a generation that can meet them, as far as they can be named; None where they cannot.

        Raises:
            LabelsRefused: If a set of labels was dropped meanwhile.
        """
        named: list[frozenset[str]] = []
        if self.folders or self.authors:
            found = catalog.documents_in(self.corpus, number, self.folders, self.authors, MOST_NAMED)
            named += [found] if found is not None else []
        for label in self.labels:
            if label.unit is Unit.DOCUMENT and label.items <= MOST_NAMED:
                named.append(frozenset(table.items(self.corpus, label.name, label.values)))
        return frozenset.intersection(*named) if named else None

    def kept(self, table: LabelTable, passages: Sequence[Ranked]) -> list[Ranked]:
        """The passages that meet them, in their order.

        Raises:
            LabelsRefused: As above.
        """
        kept = [passage for passage in passages if self._is_allowed(passage)]
        for label in self.labels:
            items = [item_of(passage, label.unit) for passage in kept]
            said = table.of(self.corpus, label.name, sorted(set(items)))
            kept = [
                passage
                for passage, item in zip(kept, items, strict=True)
                if item in said and said[item].value in label.values
            ]
        return kept

    def _is_allowed(self, passage: Ranked) -> bool:
        metadata = passage.hit.metadata
        return (
            metadata["document_id"] not in self.without
            and (not self.folders or any(metadata["uri"].startswith(f"{folder}/") for folder in self.folders))
            and (not self.authors or metadata.get("author", "") in self.authors)
        )


def filters_of(request: SearchRequest, table: LabelTable) -> Filters:
    """What a request demands.

    Raises:
        LabelsRefused: If it names a set of labels that the corpus does not have.
    """
    chosen: dict[str, set[str]] = {}
    for name, value in request.labels:
        chosen.setdefault(name, set()).add(value)
    return Filters(
        corpus=request.corpus,
        folders=frozenset(folder.strip("/") for folder in request.folders),
        authors=request.authors,
        labels=tuple(_label(table, request.corpus, name, frozenset(chosen[name])) for name in sorted(chosen)),
        without=frozenset((*request.like, *request.unlike)),
    )


def item_of(passage: Ranked, unit: Unit) -> str:
    """What of a passage carries the labels of a set: its document's id or its own."""
    return str(passage.hit.metadata["document_id"]) if unit is Unit.DOCUMENT else passage.hit.id


def _label(table: LabelTable, corpus: str, name: str, values: frozenset[str]) -> LabelFilter:
    labels, counts = table.one(corpus, name), table.counts(corpus, name)
    items = sum(counts.get(value, 0) for value in values)
    return LabelFilter(name, labels.unit, f"{labels.id} {labels.created.isoformat()}", values, items)
