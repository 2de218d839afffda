"""The kinds of long work there are, by name: what ``kalm task run`` does for a task of each kind."""

from collections.abc import Callable, Mapping
from typing import Any

from app.bootstrap import Services
from app.services.access import Person
from app.services.classify.chores import Chores
from app.services.errands import Errand
from app.services.tasks import OnProgress, Work
from indexer.catalog.task_tables import TaskRefused


def _errand(errand: Errand) -> Callable[[Services], Work]:
    def of(services: Services) -> Work:
        def work(person: Person, asked: Mapping[str, Any], progress: OnProgress) -> Mapping[str, Any]:
            return services.errands.carry_out(person, errand, asked, progress)

        return work

    return of


_KINDS: Mapping[str, Callable[[Services], Work]] = {
    **{errand.value: _errand(errand) for errand in Errand},
    "map": lambda services: services.maps.carry_out,
    "backup": lambda services: services.upkeep.carry_out_backup,
    "examination": lambda services: services.upkeep.carry_out_examination,
    "classify.train": lambda services: Chores(services.classify).train,
    "classify.predict": lambda services: Chores(services.classify).predict,
    "classify.apply": lambda services: Chores(services.classify).apply,
}


def work_of(kind: str, services: Services) -> Work:
    """What a kind of task does.

    Raises:
        TaskRefused: If there is no such kind here.
    """
    if kind not in _KINDS:
        raise TaskRefused(f"This version does not know how to do a task of the kind {kind}; update it.")
    return _KINDS[kind](services)


def turn_of(kind: str) -> str:
    """Whose turn a kind of task waits for.

    What loads a model for long or fills the memory is done one after the other. An admin who goes back to an earlier
    version does not wait for a map, nor for somebody's look through a large folder.
    """
    if kind in (Errand.GATE, Errand.PROOF) or kind not in set(Errand):
        return "turn"
    return "turn-of-looks" if kind in (Errand.PLAN, Errand.STORAGE) else "turn-of-changes"
