"""What the map page asks of the application, and nothing more."""

from collections.abc import Sequence
from typing import Protocol

from app.services.access import Person
from app.services.maps.comparing import Comparison
from app.services.maps.runs import Plan, Points, Run
from app.ui.search.contract import CorpusInfo
from indexer.catalog.task_tables import Task


class MapBackend(Protocol):
    """The one object the page talks to; it is shared by every session, so it must be thread-safe.

    What is refused is an AppError with one sentence for the user.
    """

    def corpora(self) -> Sequence[CorpusInfo]:
        """Every corpus, in the order of the picker."""
        ...

    def runs(self, corpus: str) -> Sequence[Run]:
        """The saved maps of a corpus, newest first."""
        ...

    def points(self, run: Run) -> Points:
        """The points of a map."""
        ...

    def is_current(self, run: Run) -> bool:
        """Whether a map is of the version of the index that is searched now."""
        ...

    def start(self, person: Person, plan: Plan) -> str:
        """Have a map made; returns the id of the task."""
        ...

    def task(self, task_id: str) -> Task | None:
        """The making of a map as it stands; None where there is none of that id."""
        ...

    def making(self, corpus: str) -> Sequence[Task]:
        """The maps of a corpus that wait or are being made, newest first."""
        ...

    def stop(self, person: Person, task_id: str) -> None:
        """End the making of a map."""
        ...

    def rename(self, person: Person, run: Run, number: int, name: str) -> Run:
        """Call a cluster something else."""
        ...

    def set_threshold(self, person: Person, run: Run, threshold: float) -> Run:
        """Decide anew who is an outlier."""
        ...

    def drop(self, person: Person, run: Run) -> None:
        """Forget a map."""
        ...

    def compare(self, first: Run, second: Run) -> Comparison:
        """Hold two maps against each other."""
        ...
