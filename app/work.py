"""The kinds of long work there are, by name: what ``kalm task run`` does for a task of each kind."""

from collections.abc import Callable, Mapping

from app.bootstrap import Services
from app.services.classify.chores import Chores
from app.services.tasks import Work
from indexer.task_tables import TaskRefused

_KINDS: Mapping[str, Callable[[Services], Work]] = {
    "map": lambda services: services.maps.carry_out,
    "gate": lambda services: services.admin.carry_out_check,
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
