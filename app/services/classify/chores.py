"""Long work of classification, as tasks carry it out."""

from collections.abc import Mapping
from typing import Any

from app.services.access import Person
from app.services.classify.service import ClassifyService
from app.services.tasks import OnProgress


class Chores:
    """What the service does when nobody can wait for it: parameters and results are JSON values."""

    def __init__(self, service: ClassifyService) -> None:
        self._service = service

    def train(self, person: Person, parameters: Mapping[str, Any], progress: OnProgress) -> Mapping[str, Any]:
        """Learn from the examples of ``work``."""
        self._service.train(person, parameters["work"], progress)
        return {}

    def predict(self, person: Person, parameters: Mapping[str, Any], progress: OnProgress) -> Mapping[str, Any]:
        """Label the ``column`` of a ``table`` by a ``classifier``."""
        rows = self._service.predict_table(
            person, parameters["classifier"], parameters["table"], parameters["column"], progress
        )
        return {"table": parameters["table"], "rows": rows}

    def apply(self, person: Person, parameters: Mapping[str, Any], progress: OnProgress) -> Mapping[str, Any]:
        """Label every document of a ``corpus`` by a ``classifier``."""
        counts = self._service.apply(person, parameters["classifier"], parameters["corpus"], progress)
        return {"counts": counts}
