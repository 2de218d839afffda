"""What the page asks of the application, and nothing more."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from app.services.access import Person
from app.services.classify.classifiers import Classifier, Label
from app.services.classify.desk import Work
from app.services.classify.service import ClassifyAnswer, ClassifyRequest
from app.services.classify.tables import Example
from app.ui.search.contract import CorpusInfo
from indexer.catalog.task_tables import Task


class ClassifyBackend(Protocol):
    """Classification; shared by every session, so it must be thread-safe. Everything may raise an AppError."""

    def classify(self, request: ClassifyRequest) -> ClassifyAnswer:
        """Label texts."""
        ...

    def classifiers(self) -> Sequence[Classifier]:
        """Those that are kept, by name."""
        ...

    def begin(self, person: Person, examples: Sequence[Example], unlabelled: Sequence[str], instruction: str) -> str:
        """Lay out examples, and return the id of the work."""
        ...

    def work(self, id: str) -> Work:
        """Work in hand."""
        ...

    def relabel(self, person: Person, id: str, labels: Mapping[int, str | None]) -> None:
        """Correct examples by their places."""
        ...

    def add(self, person: Person, id: str, examples: Sequence[Example]) -> None:
        """Add examples."""
        ...

    def gather(self, person: Person, id: str, corpus: str) -> int:
        """Take documents of a corpus as texts that could be labelled next."""
        ...

    def train(self, person: Person, id: str) -> None:
        """Learn, at once."""
        ...

    def save(self, person: Person, id: str, name: str, threshold: float) -> Classifier:
        """Keep what was learnt."""
        ...

    def save_described(
        self, person: Person, name: str, labels: Sequence[Label], threshold: float, instruction: str
    ) -> Classifier:
        """Keep described labels."""
        ...

    def remove(self, person: Person, name: str) -> None:
        """Forget a classifier."""
        ...

    def put_table(self, person: Person, data: bytes) -> str:
        """Take a table, and return its id."""
        ...

    def predict_table(self, person: Person, name: str, table_id: str, column: str) -> int:
        """Label a table, at once."""
        ...

    def predictions(self, table_id: str) -> bytes:
        """A labelled table as CSV."""
        ...


class TaskBackend(Protocol):
    """Long work."""

    def submit(self, person: Person, kind: str, parameters: Mapping[str, Any]) -> str:
        """Enter a task, and return its id."""
        ...

    def one(self, task_id: str) -> Task:
        """A task as it stands."""
        ...

    def cancel(self, person: Person, task_id: str) -> None:
        """End a task."""
        ...


@dataclass(frozen=True, slots=True)
class Backend:
    """All of it."""

    classify: ClassifyBackend
    tasks: TaskBackend
    corpora: Callable[[], Sequence[CorpusInfo]]
