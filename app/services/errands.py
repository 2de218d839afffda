"""What editors and admins ask for that takes longer than a page may: done in tasks, whose last results are kept.

What is done stands in ``AdminService`` and ``UpkeepService``; here it is begun, carried out, and looked up.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from app.services.access import Person, Role
from app.services.admin import AdminService
from app.services.indexing import UpToDate
from app.services.plans import KeptPlan, shortened
from app.services.storage import StorageReport, Taken
from app.services.tasks import OnProgress, Tasks
from app.services.upkeep import UpkeepService
from indexer.catalog.task_tables import Task
from indexer.records import Run
from indexer.upkeep.doctor import Finding


class Errand(StrEnum):
    """What is asked for, as the kind of its tasks. All but the last three are about a ``corpus``."""

    PLAN = "admin.plan"
    BUILD = "admin.build"
    RETRY = "admin.retry"
    RETRY_FAILED = "admin.retry_failed"
    REBUILD = "admin.rebuild"
    REPAIR = "admin.repair"
    CANCEL = "admin.cancel"
    REMOVE = "admin.remove"
    GATE = "gate"
    SWAP = "admin.swap"
    ROLLBACK = "admin.rollback"
    DISCARD = "admin.discard"
    STORAGE = "admin.storage"
    CLEAN = "admin.clean"
    PROOF = "admin.proof"


OF_BUILDS = (Errand.BUILD, Errand.RETRY, Errand.RETRY_FAILED, Errand.REBUILD, Errand.REPAIR, Errand.CANCEL)
"""What enters a run for workers, or ends one."""

OF_VERSIONS = (Errand.GATE, Errand.SWAP, Errand.ROLLBACK, Errand.DISCARD)
"""What is done with versions that are there."""

OF_STORAGE = (Errand.STORAGE, Errand.CLEAN)

_FOR_EDITORS = frozenset({Errand.PLAN, Errand.BUILD, Errand.RETRY, Errand.RETRY_FAILED, Errand.CANCEL})
_SEEN_BY_EDITORS = _FOR_EDITORS | {*OF_BUILDS, Errand.REMOVE}
_MOST_PROOFS = 50


@dataclass(frozen=True, slots=True)
class Errands:
    """The errands of an installation. Safe between threads.

    Every method refuses those who may not ask, by ``Forbidden``.
    """

    admin: AdminService
    upkeep: UpkeepService
    tasks: Tasks

    def begin(self, person: Person, errand: Errand, **asked: Any) -> str:  # noqa: ANN401 - JSON values
        """Have something done in the background.

        Args:
            person: Who wants it.
            errand: What.
            asked: With what, as JSON values: see ``_WORK``.

        Returns:
            The task's id.

        Raises:
            NotConfirmed: If a corpus is to be removed and its name was not typed again.
            TaskRefused: If too many tasks wait.
        """
        person.must_be(_role_for(errand))
        if errand is Errand.REMOVE:  # said at once
            self.admin.confirm_removal(person, asked["corpus"], asked["typed"])
        return self.tasks.submit(person, errand.value, asked)

    def carry_out(
        self, person: Person, errand: Errand, asked: Mapping[str, Any], progress: OnProgress
    ) -> dict[str, Any]:
        """Do it: the work of such a task. Raises as the method of the service that it calls."""
        person.must_be(_role_for(errand))
        return _WORK[errand](self, person, asked, progress)

    def stop(self, person: Person, task_id: str) -> None:
        """End what was begun, for those who might have begun it; raises TaskRefused if there is no such task."""
        person.must_be(_role_for(self.one(person, task_id).kind))
        self.tasks.cancel(person, task_id)

    def one(self, person: Person, task_id: str) -> Task:
        """How far something is; raises TaskRefused if there is no such task."""
        person.must_be(Role.EDITOR)
        task = self.tasks.one(task_id)
        _may_see(person, [task.kind])
        return task

    def last(self, person: Person, errands: Collection[Errand], corpus: str = "") -> Task | None:
        """The newest task of any of these kinds, of a corpus if one is named, if there was one."""
        _may_see(person, errands)
        return self.tasks.newest(errands, {"corpus": corpus} if corpus else {})

    def plan(self, person: Person, corpus: str) -> KeptPlan | None:
        """What a build would have done when somebody looked last; None if nobody did since the corpus was entered.

        Raises:
            CatalogError: If there is no such corpus.
        """
        _may_see(person, [Errand.PLAN])
        made = self.tasks.newest([Errand.PLAN], {"corpus": corpus}, done=True)
        removed = self.tasks.newest([Errand.REMOVE], {"corpus": corpus}, done=True)
        if made is None or (removed is not None and removed.created > made.created):
            return None
        is_current = made.result["stands"] == _stands(self.admin, corpus)
        return KeptPlan.of(made.result["plan"], made.started or made.created, is_current)

    def storage_report(self, person: Person) -> tuple[StorageReport, datetime] | None:
        """What took how much room when it was measured last, and when that was; None if it never was."""
        _may_see(person, OF_STORAGE)
        task = self.tasks.newest(OF_STORAGE, {}, done=True)
        if task is None:
            return None
        report = task.result["report"]
        taken = tuple(Taken(**each) for each in report["taken"])
        return StorageReport(**(report | {"taken": taken})), task.ended or task.created

    def proofs(self, person: Person) -> Mapping[str, Task]:
        """The last time that each model was opened to prove it, by its name, as far as that ended by itself."""
        _may_see(person, [Errand.PROOF])
        newest_last = reversed(self.tasks.recent(Errand.PROOF.value, _MOST_PROOFS))
        return {task.parameters["model"]: task for task in newest_last if task.result or task.error}


_Asked = Mapping[str, Any]
_Result = dict[str, Any]


def _stands(admin: AdminService, corpus: str) -> _Result:
    """What a plan is made for; another version of the corpus, or another build, makes it one of the past."""
    known, run = admin.catalog.corpus(corpus), admin.jobs.active(corpus)
    return {"place": known.place, "live": known.live, "run": run.id if run else None}


def _plan(to: Errands, person: Person, asked: _Asked, progress: OnProgress) -> _Result:
    stands = _stands(to.admin, asked["corpus"])  # before the folder is looked at: what happens meanwhile is not in it
    return {"stands": stands, "plan": shortened(to.admin.outlook(person, asked["corpus"], progress))}


def _build(to: Errands, person: Person, asked: _Asked, _: OnProgress) -> _Result:
    return _entered(to.admin.build(person, asked["corpus"]))


def _retry(to: Errands, person: Person, asked: _Asked, _: OnProgress) -> _Result:
    return _entered(to.admin.retry(person, asked["run"]))


def _retry_failed(to: Errands, person: Person, asked: _Asked, _: OnProgress) -> _Result:
    return _entered(to.admin.retry_failed(person, asked["corpus"]))


def _rebuild(to: Errands, person: Person, asked: _Asked, _: OnProgress) -> _Result:
    return _entered(to.admin.rebuild(person, asked["corpus"], asked["model"], asked["dim"]))


def _repair(to: Errands, person: Person, asked: _Asked, _: OnProgress) -> _Result:
    return _entered(to.upkeep.repair(person, Finding(**asked["finding"])))


def _cancel(to: Errands, person: Person, asked: _Asked, _: OnProgress) -> _Result:
    run = to.admin.cancel(person, asked["run"])
    return {"run": run.id, "state": run.state.value}


def _remove(to: Errands, person: Person, asked: _Asked, _: OnProgress) -> _Result:
    to.admin.remove(person, asked["corpus"], asked["typed"])
    return {"corpus": asked["corpus"]}


def _gate(to: Errands, person: Person, asked: _Asked, _: OnProgress) -> _Result:
    corpus, version = asked["corpus"], asked["version"]
    if asked["swap"]:
        return {"version": to.admin.swap(person, corpus, version)}
    return {"version": version, "checks": [asdict(check) for check in to.admin.check(person, corpus, version)]}


def _swap(to: Errands, person: Person, asked: _Asked, _: OnProgress) -> _Result:
    return {"version": to.admin.swap(person, asked["corpus"], asked["version"], force=True)}


def _rollback(to: Errands, person: Person, asked: _Asked, _: OnProgress) -> _Result:
    return {"version": to.admin.rollback(person, asked["corpus"], asked["version"])}


def _discard(to: Errands, person: Person, asked: _Asked, _: OnProgress) -> _Result:
    return {"versions": to.admin.discard(person, asked["corpus"], asked["version"])}


def _storage(to: Errands, person: Person, _: _Asked, __: OnProgress) -> _Result:
    return {"report": asdict(to.upkeep.storage(person))}


def _clean(to: Errands, person: Person, _: _Asked, __: OnProgress) -> _Result:
    freed = to.upkeep.drop_unused(person)
    return {"freed": freed, "report": asdict(to.upkeep.storage(person))}


def _proof(to: Errands, person: Person, asked: _Asked, _: OnProgress) -> _Result:
    return asdict(to.upkeep.prove_model(person, asked["model"]))


def _entered(run: Run | UpToDate | None) -> _Result:
    return {"run": run.id if isinstance(run, Run) else None}


_WORK: Mapping[Errand, Callable[[Errands, Person, _Asked, OnProgress], _Result]] = {
    Errand.PLAN: _plan,
    Errand.BUILD: _build,
    Errand.RETRY: _retry,
    Errand.RETRY_FAILED: _retry_failed,
    Errand.REBUILD: _rebuild,
    Errand.REPAIR: _repair,
    Errand.CANCEL: _cancel,
    Errand.REMOVE: _remove,
    Errand.GATE: _gate,
    Errand.SWAP: _swap,
    Errand.ROLLBACK: _rollback,
    Errand.DISCARD: _discard,
    Errand.STORAGE: _storage,
    Errand.CLEAN: _clean,
    Errand.PROOF: _proof,
}
"""What each does, with what it is asked with, and what its result has."""


def _role_for(errand: str) -> Role:
    return Role.EDITOR if errand in _FOR_EDITORS else Role.ADMIN


def _may_see(person: Person, errands: Collection[str]) -> None:
    person.must_be(Role.EDITOR if _SEEN_BY_EDITORS.issuperset(errands) else Role.ADMIN)
