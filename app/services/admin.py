"""What editors and admins do with corpora, builds and versions: roles are checked here, and changes are noted."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from app.services.access import Person, Role
from app.services.audit import AuditLog
from app.services.corpora import CorpusInfo, CorpusRefused, CorpusService, check_name
from app.services.indexing import IndexService, UpToDate
from app.services.outlook import Outlook
from app.services.storage import Storage
from app.services.uploads import IncomingFile, Received, Uploads
from embedder.catalogue import is_here
from embedder.errors import AppError
from indexer.catalog.corpora import Catalog
from indexer.catalog.jobs import Jobs
from indexer.records import Corpus, Run
from indexer.upkeep.gate import Check
from indexer.upkeep.versions import Version, Versions


class NotConfirmed(AppError):
    """Something that cannot be undone, asked for without its confirmation."""


class ModelNotHere(AppError):
    """A model that would have to be fetched first."""


@dataclass(frozen=True, slots=True)
class CorpusOverview:
    """A corpus as whoever looks after it sees it.

    Attributes:
        is_uploaded: Whether its files were uploaded; else they are in a folder of the server.
        bytes: What its versions take in the data folder.
        run: The build that is not over, if there is one.
    """

    info: CorpusInfo
    is_uploaded: bool
    bytes: int
    run: Run | None


@dataclass(frozen=True, slots=True)
class AdminService:
    """Corpora, builds and versions of an installation. Safe between threads.

    Every method refuses those who may not ask, by ``Forbidden``.

    Attributes:
        roots: Folders that corpora entered by path have to lie in; any where there are none.
    """

    catalog: Catalog
    corpus_service: CorpusService
    indexing: IndexService
    jobs: Jobs
    version_service: Versions
    uploads: Uploads
    storage: Storage
    audit: AuditLog
    roots: tuple[Path, ...] = ()

    def corpora(self, person: Person) -> list[CorpusOverview]:
        """Every corpus by name."""
        person.must_be(Role.EDITOR)
        return [
            CorpusOverview(
                info=info,
                is_uploaded=info.root == str(self.uploads.folder_of(info.name)),
                bytes=self.storage.index_bytes(info.name),
                run=self.jobs.active(info.name),
            )
            for info in self.corpus_service.all()
        ]

    def failed_files(self, person: Person, name: str) -> Mapping[str, str]:
        """Why files of a corpus could not be read, by uri; raises CatalogError where there is no such corpus."""
        person.must_be(Role.EDITOR)
        return self.corpus_service.failed_files(name)

    def add_folder(self, person: Person, name: str, path: str) -> Corpus:
        """Enter a folder of the server as a corpus.

        Raises:
            CorpusRefused: If the name is none, or the path is not there or not in an allowed folder.
            CatalogError: If the name is taken.
        """
        person.must_be(Role.ADMIN)
        check_name(name)
        corpus = self.corpus_service.add(name, self._allowed(path))
        self.audit.note(person, "corpus.add", name, path=str(corpus.root))
        return corpus

    def upload(self, person: Person, name: str, files: Sequence[IncomingFile], *, replace: bool = False) -> Received:
        """Keep uploaded files as a corpus, or add them to one that was uploaded.

        Args:
            person: Who uploads them.
            name: Of the corpus.
            files: All of them are kept, or none.
            replace: Whether they take the place of those of the same path; else both are kept.

        Raises:
            CorpusRefused: If the name is none, or is that of a folder of the server.
            UploadRefused: If the files cannot be kept.
        """
        person.must_be(Role.EDITOR)
        check_name(name)
        folder = self.uploads.folder_of(name)
        known = {corpus.name: corpus for corpus in self.catalog.corpora()}.get(name)
        if known is None:
            self.uploads.remove(name)  # of a corpus that was being made when everything stopped
        elif known.root != folder:
            raise CorpusRefused(
                f"The corpus {name} stands for the folder {known.root}; put the files there, or choose another name."
            )
        received = self.uploads.receive(name, files, replace=replace)
        self.corpus_service.add(name, folder)
        self.audit.note(person, "corpus.upload", name, files=str(received.files), bytes=str(received.bytes))
        return received

    def remove(self, person: Person, name: str, typed: str) -> None:
        """Forget a corpus, its index and its maps; uploaded files go with it, those of a folder stay.

        Args:
            person: Who wants it.
            name: The corpus.
            typed: Its name again, to confirm.

        Raises:
            CatalogError: If there is no such corpus.
            NotConfirmed: If the names differ.
        """
        root = self.confirm_removal(person, name, typed).root
        self.corpus_service.remove(name)
        if root == self.uploads.folder_of(name):
            self.uploads.remove(name)
        self.audit.note(person, "corpus.remove", name, path=str(root))

    def confirm_removal(self, person: Person, name: str, typed: str) -> Corpus:
        """Refuse what ``remove`` would refuse, and raise the same; returns the corpus that it would remove."""
        person.must_be(Role.ADMIN)
        corpus = self.catalog.corpus(name)
        if typed.strip() != name:
            raise NotConfirmed(f"Nothing was removed; type {name} to confirm.")
        return corpus

    def outlook(
        self, person: Person, name: str, on_progress: Callable[[float, str], None] = lambda *_: None
    ) -> Outlook:
        """What a build would do now; raises CatalogError or BuildRefused."""
        person.must_be(Role.EDITOR)
        return self.indexing.outlook(name, on_progress)

    def build(self, person: Person, name: str) -> Run | UpToDate:
        """Have an index brought up to date by a worker, with the model it was made with.

        Raises:
            CatalogError: If there is no such corpus.
            BuildRefused: If its folder is gone, or what is running does not fit.
        """
        person.must_be(Role.EDITOR)
        live = self._live(name)
        run = self.indexing.submit(name, model=live.generation.manifest.model if live else None)
        return self._noted(person, run)

    def retry_failed(self, person: Person, name: str) -> Run:
        """Have the files that could not be read looked at again; raises JobError where there are none."""
        person.must_be(Role.EDITOR)
        run = self.indexing.retry_failed(name)
        self.audit.note(person, "index.retry", name, run=str(run.id))
        return run

    def runs(self, person: Person, limit: int) -> list[Run]:
        """The newest builds, newest first."""
        person.must_be(Role.EDITOR)
        return self.jobs.runs(limit)

    def failures(self, person: Person, number: int) -> Mapping[str, str]:
        """Why files of a build failed, by uri."""
        person.must_be(Role.EDITOR)
        return self.jobs.failures(number)

    def pause(self, person: Person, number: int) -> Run:
        """Have workers let go of a build; raises JobError."""
        person.must_be(Role.EDITOR)
        return self._noted_run(person, "run.pause", self.jobs.pause(number))

    def resume(self, person: Person, number: int) -> Run:
        """Let a build go on that was paused or failed; raises JobError."""
        person.must_be(Role.EDITOR)
        return self._noted_run(person, "run.resume", self.jobs.resume(number))

    def cancel(self, person: Person, number: int) -> Run:
        """End a build; raises JobError."""
        person.must_be(Role.EDITOR)
        return self._noted_run(person, "run.cancel", self.indexing.cancel(number))

    def retry(self, person: Person, number: int) -> Run:
        """Have the failed files of a build looked at again; raises JobError or BuildRefused."""
        person.must_be(Role.EDITOR)
        return self._noted_run(person, "run.retry", self.indexing.retry(number))

    def kept_versions(self, person: Person) -> int:
        """How many versions of an index are kept."""
        person.must_be(Role.ADMIN)
        return self.catalog.kept_versions

    def versions(self, person: Person, name: str) -> list[Version]:
        """The versions of an index that are kept, newest first; raises CatalogError."""
        person.must_be(Role.ADMIN)
        return self.version_service.all(name)

    def rebuild(self, person: Person, name: str, model: str | None, dim: int | None) -> Run:
        """Have a version built from nothing beside the one in use, where it waits.

        Args:
            person: Who wants it.
            name: The corpus.
            model: What to make it with; None takes what is configured.
            dim: Width of its vectors; None takes the model's own.

        Raises:
            ModelNotHere: If the model would have to be fetched: that is not done without being asked for.
            CatalogError: If there is no such corpus.
            BuildRefused: If a build is in the way.
            VersionWaits: If a version waits already.
        """
        person.must_be(Role.ADMIN)
        if not is_here(model):
            raise ModelNotHere(
                f"The model {model} is not on this machine; fetch it with KALM_MODEL={model} kalm embed, or choose "
                "another."
            )
        run = self.indexing.submit(name, fresh=True, held=True, model=model, dim=dim)
        assert isinstance(run, Run)  # noqa: S101 - a build from nothing is never up to date
        made = run.manifest
        self.audit.note(person, "index.rebuild", name, run=str(run.id), model=made.model, dim=str(made.dim))
        return run

    def check(self, person: Person, name: str, version: int | None = None) -> list[Check]:
        """Hold the version that waits, of that number if one is named, against what it has to be; raises NoVersion."""
        person.must_be(Role.ADMIN)
        return self.version_service.check(name, version=version)

    def swap(self, person: Person, name: str, version: int | None = None, *, force: bool = False) -> int:
        """Put the version that waits in use, of that number if one is named.

        Raises:
            NoVersion: If it does not wait, or no longer: another that does is left alone.
            GateFailed: If it does not pass its checks, unless forced.
        """
        person.must_be(Role.ADMIN)
        number = self.version_service.swap(name, version=version, force=force)
        self.audit.note(person, "index.swap", name, version=str(number), forced="yes" if force else "no")
        return number

    def rollback(self, person: Person, name: str, number: int | None = None) -> int:
        """Go back to an earlier version, the newest of them if none is named; raises NoVersion."""
        person.must_be(Role.ADMIN)
        gone_to = self.version_service.rollback(name, number)
        self.audit.note(person, "index.rollback", name, version=str(gone_to))
        return gone_to

    def discard(self, person: Person, name: str, version: int | None = None) -> list[int]:
        """Remove the versions that wait, the newest of that number if one is named; raises NoVersion."""
        person.must_be(Role.ADMIN)
        numbers = self.version_service.discard(name, version=version)
        self.audit.note(person, "index.discard", name, versions=", ".join(map(str, numbers)))
        return numbers

    def _live(self, name: str) -> Version | None:
        return next((version for version in self.version_service.all(name) if version.is_live), None)

    def _noted(self, person: Person, run: Run | UpToDate) -> Run | UpToDate:
        return self._noted_run(person, "index.build", run) if isinstance(run, Run) else run

    def _noted_run(self, person: Person, action: str, run: Run) -> Run:
        self.audit.note(person, action, run.corpus, run=str(run.id))
        return run

    def _allowed(self, typed: str) -> Path:
        """The path that somebody typed, if a corpus may be made of it; links in it are followed first."""
        try:
            whole = Path(typed.strip()).expanduser()
            path = whole.resolve()
            is_there = path.exists()
        except (OSError, ValueError, RuntimeError):  # too long, a NUL in it, ~nobody
            raise CorpusRefused(f"{typed!r} is no path; check it.") from None
        if not whole.is_absolute():
            raise CorpusRefused(f"{typed!r} is no whole path; write it from / on.")
        roots = [root.expanduser().resolve() for root in self.roots]
        if roots and not any(path.is_relative_to(root) for root in roots):
            raise CorpusRefused(
                f"{path} is not in a folder that corpora may be made of ({', '.join(map(str, roots))}); choose one "
                "there, or have KALM_CORPUS_ROOTS changed."
            )
        if not is_there:
            raise CorpusRefused(f"There is no folder or file {path}; check the path.")
        return path
