"""What admins do to keep an installation well: workers, models, storage, backups, health, settings and the log."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from app.services.access import Person, Role
from app.services.audit import AuditEntry, AuditLog
from app.services.configuration import Setting, listed
from app.services.health import Health, Remedy, remedy_for, run_of
from app.services.indexing import IndexService
from app.services.models import ModelInfo, Models, Proof
from app.services.storage import Backup, Storage, StorageReport
from app.services.tasks import OnProgress, Tasks
from app.services.workers import Worker, Workers
from app.settings import Settings
from embedder.errors import AppError
from indexer.catalog.corpora import Catalog
from indexer.catalog.jobs import Jobs
from indexer.catalog.task_tables import Task
from indexer.records import Run
from indexer.upkeep.backup import BackupReport
from indexer.upkeep.doctor import Finding

BACKUP, EXAMINATION = "backup", "examination"
"""Kinds of tasks."""

_MOST_ENTRIES = 10_000


class NoRemedy(AppError):
    """A finding about which only people can do something."""


@dataclass(frozen=True, slots=True)
class UpkeepService:
    """An installation's upkeep. Safe between threads.

    Every method refuses those who may not ask, by ``Forbidden``.

    Attributes:
        make_backup: Writes an archive of everything to a path.
    """

    catalog: Catalog
    jobs: Jobs
    indexing: IndexService
    worker_service: Workers
    model_service: Models
    storage_service: Storage
    health: Health
    make_backup: Callable[[Path], BackupReport]
    tasks: Tasks
    chosen: Settings
    audit: AuditLog

    def workers(self, person: Person) -> list[Worker]:
        """Who carries out builds on this machine."""
        person.must_be(Role.EDITOR)
        return self.worker_service.alive()

    def start_worker(self, person: Person) -> int:
        """Start a worker that goes on when the server ends, and return its process; raises WorkerRuns."""
        person.must_be(Role.ADMIN)
        pid = self.worker_service.start()
        self.audit.note(person, "worker.start", str(pid))
        return pid

    def worker_failure(self, person: Person) -> str:
        """Why the worker that was started here ended, if it was an error."""
        person.must_be(Role.EDITOR)
        return self.worker_service.failure()

    def models(self, person: Person) -> list[ModelInfo]:
        """Known models."""
        person.must_be(Role.ADMIN)
        return self.model_service.all()

    def prove_model(self, person: Person, name: str) -> Proof:
        """Open a model, which proves that it works; raises an AppError where it does not."""
        person.must_be(Role.ADMIN)
        return self.model_service.prove(name)

    def storage(self, person: Person) -> StorageReport:
        """What takes how much room."""
        person.must_be(Role.ADMIN)
        return self.storage_service.report()

    def drop_unused(self, person: Person) -> int:
        """Remove what nobody needs; returns the bytes freed."""
        person.must_be(Role.ADMIN)
        freed = self.storage_service.drop_unused()
        self.audit.note(person, "storage.clean", "data", bytes=str(freed))
        return freed

    def backups(self, person: Person) -> list[Backup]:
        """Backups made here, newest first."""
        person.must_be(Role.ADMIN)
        return self.storage_service.backups()

    def back_up(self, person: Person) -> str:
        """Have a backup written in the background; returns the task's id, or raises TaskRefused."""
        person.must_be(Role.ADMIN)
        return self.tasks.submit(person, BACKUP, {})

    def carry_out_backup(
        self, person: Person, parameters: Mapping[str, Any], progress: OnProgress
    ) -> Mapping[str, str | int]:
        """Write a backup: the work of such a task; raises BackupRefused."""
        person.must_be(Role.ADMIN)
        target = self.storage_service.new_backup()
        report = self.make_backup(target)
        self.audit.note(person, "backup.make", target.name, bytes=str(report.bytes))
        return {"path": str(target), "files": report.files, "bytes": report.bytes}

    def drop_backup(self, person: Person, name: str) -> None:
        """Delete a backup; raises NoBackup."""
        person.must_be(Role.ADMIN)
        self.storage_service.drop_backup(name)
        self.audit.note(person, "backup.remove", name)

    def examine(self, person: Person) -> str:
        """Have everything looked at in the background; returns the task's id, or raises TaskRefused."""
        person.must_be(Role.ADMIN)
        return self.tasks.submit(person, EXAMINATION, {})

    def carry_out_examination(
        self, person: Person, parameters: Mapping[str, Any], progress: OnProgress
    ) -> Mapping[str, list[dict[str, Any]]]:
        """Look at the installation and at every corpus: the work of such a task."""
        person.must_be(Role.ADMIN)
        findings: list[dict[str, Any]] = []
        subjects = ["installation", *(corpus.name for corpus in self.catalog.corpora())]
        for finding in self.health.examine():
            findings.append(asdict(finding))
            at = subjects.index(finding.subject) if finding.subject in subjects else 0
            progress(at / len(subjects), finding.subject)
        return {"findings": findings}

    def task(self, person: Person, kind: str) -> Task | None:
        """The newest task of a kind, ``BACKUP`` or ``EXAMINATION``, if there was one."""
        person.must_be(Role.ADMIN)
        return next(iter(self.tasks.recent(kind, 1)), None)

    def repair(self, person: Person, finding: Finding) -> Run | None:
        """Do about a finding what can be done from here.

        Returns:
            The run that does it; None where nothing was left to do.

        Raises:
            NoRemedy: If only people can help.
            AppError: As what is done raises.
        """
        person.must_be(Role.ADMIN)
        remedy = remedy_for(finding)
        done = self._remedied(remedy, finding)
        details = {"run": str(done.id)} if done else {}
        self.audit.note(person, f"repair.{remedy}", finding.subject, finding=finding.name, **details)
        return done

    def settings(self, person: Person) -> list[Setting]:
        """Settings as they hold, without secrets."""
        person.must_be(Role.ADMIN)
        return listed(self.chosen)

    def entries(self, person: Person, limit: int, before: datetime | None = None) -> Sequence[AuditEntry]:
        """The last changes that people made, newest first."""
        person.must_be(Role.ADMIN)
        return self.audit.latest(min(limit, _MOST_ENTRIES), before)

    def _remedied(self, remedy: Remedy, finding: Finding) -> Run | None:
        name = finding.subject
        match remedy:
            case Remedy.BUILD:
                made = self.indexing.made_with(name)
                run = self.indexing.submit(name, model=made.model if made else None)
            case Remedy.FRESH:
                run = self.indexing.submit_repair(name)
            case Remedy.REBUILD:
                run = self.indexing.submit(name, fresh=True, held=True)
            case Remedy.RETRY:
                run = self.indexing.retry_failed(name)
            case Remedy.RESUME:
                run = self.jobs.resume(run_of(finding) or 0)
            case Remedy.NONE:
                raise NoRemedy(f"This cannot be mended from a page: {finding.remedy or finding.found}.")
        return run if isinstance(run, Run) else None
