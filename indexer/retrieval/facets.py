"""Counts beside the filters: what the documents found are of, by, in and about."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from os.path import commonpath
from posixpath import dirname

from indexer.catalog.label_tables import LabelSet, LabelTable
from indexer.retrieval.filters import item_of
from indexer.retrieval.ranking import Found
from indexer.retrieval.results import FacetCount, LabelFacet


def counted(documents: Sequence[Found], values: Callable[[Found], Iterable[str]]) -> tuple[FacetCount, ...]:
    """How many documents have each value, most frequent first; a document counts once for each of its values."""
    counts = Counter(value for found in documents for value in set(values(found)) if value)
    return tuple(FacetCount(*one) for one in sorted(counts.items(), key=lambda one: (-one[1], one[0])))


def by_field(documents: Sequence[Found], field: str) -> tuple[FacetCount, ...]:
    """Counts of a payload field."""
    return counted(documents, lambda found: [str(found.metadata.get(field) or "")])


def by_folder(documents: Sequence[Found]) -> tuple[FacetCount, ...]:
    """Counts of the folders directly below the one that all documents share.

    Documents that are in that one itself belong to none of them.
    """
    folders = [dirname(found.metadata["uri"]) for found in documents]
    shared = commonpath(folders) if folders and all(folders) else ""
    start = len(shared) + 1 if shared else 0

    def below(found: Found) -> list[str]:
        folder = dirname(found.metadata["uri"])
        rest = folder[start:]
        return [folder[:start] + rest.partition("/")[0]] if rest else []

    return counted(documents, below)


def by_label(documents: Sequence[Found], labels: LabelSet, table: LabelTable) -> LabelFacet:
    """Counts of the labels of a set; a document has the labels of its passages found.

    Raises:
        LabelsRefused: If the set was dropped meanwhile.
    """
    items = {item_of(passage, labels.unit) for found in documents for passage in found.passages}
    said = table.of(labels.corpus, labels.name, sorted(items))

    def values(found: Found) -> list[str]:
        own = (said.get(item_of(passage, labels.unit)) for passage in found.passages)
        return [label.value for label in own if label is not None]

    return LabelFacet(labels.name, labels.kind, counted(documents, values))


def with_rest(found: Sequence[FacetCount], corpus: Iterable[str]) -> tuple[FacetCount, ...]:
    """Counts of what was found, then the other values that the corpus has, as found in none."""
    there = {count.value for count in found}
    return (*found, *(FacetCount(value, 0) for value in corpus if value not in there))
