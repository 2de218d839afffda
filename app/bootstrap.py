"""Composition: settings in, services out. Everything is made on first use, so a command pays for what it needs."""

import threading
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from app.chat import open_chat
from app.services.accounts import Accounts
from app.services.admin import AdminService
from app.services.answering import Answering
from app.services.audit import AuditLog
from app.services.caretaker import Caretaker
from app.services.classify.service import ClassifyService
from app.services.classify.vectors import TextVectors
from app.services.corpora import CorpusService
from app.services.documents import DocumentService
from app.services.encoders import Encoders, NodeModel
from app.services.errands import Errands
from app.services.health import Health
from app.services.indexing import IndexService
from app.services.keys import KeyService
from app.services.models import Models
from app.services.notes import NoteService
from app.services.schedules import ScheduleService
from app.services.searching import SearchService
from app.services.sessions import Sessions
from app.services.storage import Storage
from app.services.tasks import Tasks
from app.services.upkeep import UpkeepService
from app.services.uploads import Uploads
from app.services.vectors import VectorService
from app.services.workers import Workers
from app.settings import Settings, SettingsError, load_settings
from embedder.cache import VectorCache
from indexer.builds.nodes import RayCluster, check_installed
from indexer.catalog.audit_tables import AuditTable
from indexer.catalog.corpora import Catalog
from indexer.catalog.documents import Documents
from indexer.catalog.jobs import Jobs
from indexer.catalog.key_tables import KeyTable
from indexer.catalog.label_tables import LabelTable
from indexer.catalog.note_tables import NoteTable
from indexer.catalog.schedule_tables import ScheduleTable
from indexer.catalog.session_tables import SessionTable
from indexer.catalog.task_tables import TaskTable
from indexer.lexical import LexicalEncoder
from indexer.search import Searcher
from indexer.sources.downloads import Downloads
from indexer.stores.edge import EdgeEngine
from indexer.stores.engines import Engines
from indexer.stores.protocol import VectorEngine
from indexer.upkeep.backup import BackupReport, make_backup
from indexer.upkeep.doctor import Doctor
from indexer.upkeep.gate import Gate
from indexer.upkeep.migration import Migrator
from indexer.upkeep.versions import Versions

if TYPE_CHECKING:
    from app.services.maps.service import MapService
    from indexer.stores.server import ServerEngine


class Services:
    """The parts of one installation, wired."""

    def __init__(self, settings: Settings) -> None:
        """Make the data folder.

        Raises:
            SettingsError: If it cannot be made.
        """
        self.settings = settings
        try:
            settings.data_dir.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SettingsError(
                f"The data folder {settings.data_dir} cannot be made ({error.strerror}); set KALM_DATA_DIR to another."
            ) from error

    @cached_property
    def catalog(self) -> Catalog:
        """The database."""
        return Catalog(self.settings.catalog_url, kept_versions=self.settings.kept_versions)

    @cached_property
    def engine(self) -> VectorEngine:
        """The vector engines: new indexes are kept by the server where one is configured, else in the data folder."""
        embedded = EdgeEngine(self.settings.data_dir / "indexes", self.settings.qdrant_quantization)
        url = self.settings.qdrant_url
        return Engines(self._server(url), embedded) if url else Engines(embedded)

    @cached_property
    def encoders(self) -> Encoders:
        """Models in memory."""
        return Encoders(self.settings.model)

    @cached_property
    def lexical(self) -> LexicalEncoder:
        """The keyword leg."""
        return LexicalEncoder()

    @cached_property
    def corpora(self) -> CorpusService:
        """Corpora."""
        return CorpusService(self.catalog, self.engine, self._map_folder)

    @cached_property
    def indexing(self) -> IndexService:
        """Builds."""
        return IndexService(
            self.catalog,
            self.engine,
            self.encoders,
            self._vector_cache,
            self.lexical,
            self._lock_folder,
            Downloads(self.settings.data_dir / "downloads", int(self.settings.download_gigabytes * 2**30)),
        )

    def ray_cluster(self, address: str | None, encoders: int | None) -> RayCluster:
        """A cluster for builds; what is None is as configured. Raises ClusterError where Ray is not installed."""
        check_installed()
        settings = self.settings
        return RayCluster(NodeModel, address or settings.ray_address, encoders or settings.ray_encoders)

    @cached_property
    def schedules(self) -> ScheduleService:
        """What workers do by themselves."""
        return ScheduleService(self.catalog, ScheduleTable(self.catalog.database))

    def caretaker(self) -> Caretaker:
        """A worker's part of that, to be closed."""
        return Caretaker(self.catalog, ScheduleTable(self.catalog.database), self.jobs, self.indexing)

    @cached_property
    def migrator(self) -> Migrator:
        """Moves between engines."""
        return Migrator(self.catalog, self.jobs, self.engine, self._lock_folder)

    @cached_property
    def versions(self) -> Versions:
        """Versions of indexes."""
        return Versions(self.catalog, self.engine, Gate(self.catalog, self.engine, self.encoders.of, self.lexical))

    @cached_property
    def doctor(self) -> Doctor:
        """Whether everything is as the catalog says."""
        return Doctor(self.catalog, self.jobs, self.engine, self.encoders.of, self.settings.data_dir)

    @cached_property
    def health(self) -> Health:
        """The same, and whether what it stands on answers."""
        url = self.settings.qdrant_url
        ask_server = (lambda: self._server(url).collections()) if url else None
        return Health(self.catalog, self.doctor, self.storage, ask_server)

    def backup(self, target: Path) -> BackupReport:
        """Write an archive of all that could not be made again; raises BackupRefused."""
        return make_backup(self.catalog, self.settings.data_dir, self._lock_folder, target)

    @cached_property
    def jobs(self) -> Jobs:
        """Build runs."""
        return Jobs(self.catalog.database)

    @cached_property
    def search(self) -> SearchService:
        """Search."""
        searcher = Searcher(self.catalog, self.engine, self.lexical, self.encoders.of)
        return SearchService(self.catalog, self.corpora, searcher, self.encoders)

    @cached_property
    def notes(self) -> NoteService:
        """What people leave behind at the search page."""
        database = self.catalog.database
        return NoteService(self.catalog, NoteTable(database), Documents(database), self.search.search)

    @cached_property
    def documents(self) -> DocumentService:
        """Documents, for reading."""
        return DocumentService(self.catalog, Documents(self.catalog.database))

    @cached_property
    def vectors(self) -> VectorService:
        """Vectors for programs."""
        return VectorService(self.encoders)

    @cached_property
    def answering(self) -> Answering | None:
        """Answers in words; None where no chat model is set."""
        name = self.settings.chat_model
        return None if name is None else Answering(self.search, lambda: open_chat(name))

    @cached_property
    def labels(self) -> LabelTable:
        """What maps and classifiers said of documents and passages."""
        return LabelTable(self.catalog.database)

    @cached_property
    def accounts(self) -> Accounts:
        """Who may sign in."""
        self._lock_folder.mkdir(exist_ok=True)
        return Accounts(self.settings.data_dir / "accounts.json", self._lock_folder / "accounts")

    @cached_property
    def sessions(self) -> Sessions:
        """Who is signed in."""
        table = SessionTable(self.catalog.database)
        return Sessions(self.accounts, table, self.audit, self.settings.session_hours)

    @cached_property
    def keys(self) -> KeyService:
        """Keys of the REST interface."""
        return KeyService(KeyTable(self.catalog.database))

    @cached_property
    def tasks(self) -> Tasks:
        """Long work that the pages ask for."""
        return Tasks(TaskTable(self.catalog.database), self.task_folder)

    @property
    def task_folder(self) -> Path:
        """Locks and logs of long work."""
        return self.settings.data_dir / "tasks"

    @cached_property
    def audit(self) -> AuditLog:
        """Who changed what."""
        return AuditLog(AuditTable(self.catalog.database))

    @cached_property
    def workers(self) -> Workers:
        """Who carries out builds."""
        return Workers(self._lock_folder, self.settings.data_dir / "logs" / "worker.log")

    @cached_property
    def uploads(self) -> Uploads:
        """Files that people upload."""
        settings = self.settings
        max_bytes = int(settings.upload_megabytes * 1e6)
        return Uploads(settings.data_dir / "uploads", max_files=settings.upload_files, max_bytes=max_bytes)

    @cached_property
    def storage(self) -> Storage:
        """What is kept, and how much room it takes."""
        return Storage(self.catalog, self.jobs, self.uploads, self.settings.data_dir)

    @cached_property
    def admin(self) -> AdminService:
        """Corpora, builds and versions, for people with a role."""
        return AdminService(
            catalog=self.catalog,
            corpus_service=self.corpora,
            indexing=self.indexing,
            jobs=self.jobs,
            version_service=self.versions,
            uploads=self.uploads,
            storage=self.storage,
            audit=self.audit,
            roots=self.settings.corpus_roots,
        )

    @cached_property
    def upkeep(self) -> UpkeepService:
        """The installation itself, for admins."""
        return UpkeepService(
            catalog=self.catalog,
            jobs=self.jobs,
            indexing=self.indexing,
            worker_service=self.workers,
            model_service=Models(self.catalog, self.encoders),
            storage_service=self.storage,
            health=self.health,
            make_backup=self.backup,
            tasks=self.tasks,
            chosen=self.settings,
            audit=self.audit,
        )

    @cached_property
    def errands(self) -> Errands:
        """What the last two do that takes long."""
        return Errands(self.admin, self.upkeep, self.tasks)

    @cached_property
    def maps(self) -> "MapService":
        """Maps."""
        from app.services.maps.service import MapService  # scikit-learn takes a second to load

        return MapService(
            self.catalog, self.engine, self.corpora, self.labels, self.tasks, self._map_folder, self.audit
        )

    @cached_property
    def classify(self) -> ClassifyService:
        """Classification."""
        vectors = TextVectors(self.encoders, self._vector_cache)
        return ClassifyService(vectors, self.settings.data_dir, self.catalog, self.labels, self.audit)

    def close(self) -> None:
        """Let go of files and connections that are open."""
        if "search" in self.__dict__:
            self.search.close()
        if "catalog" in self.__dict__:
            self.catalog.close()

    @property
    def _lock_folder(self) -> Path:
        return self.settings.data_dir / "locks"

    @property
    def _map_folder(self) -> Path:
        return self.settings.data_dir / "maps"

    def _server(self, url: str) -> "ServerEngine":
        from indexer.stores.server import ServerEngine
        from indexer.stores.server_requests import ServerConfig  # the client takes a second to load

        settings = self.settings
        return ServerEngine.connect(
            ServerConfig(
                url=url,
                api_key=settings.qdrant_api_key.get_secret_value() if settings.qdrant_api_key else None,
                ca_file=settings.qdrant_ca_file,
                prefix=settings.qdrant_prefix,
                quantization=settings.qdrant_quantization,
                is_strict=settings.qdrant_strict,
            )
        )

    def _vector_cache(self) -> VectorCache:
        size = int(self.settings.cache_gigabytes * 2**30)
        return VectorCache(self.settings.data_dir / "vectors.sqlite", max_bytes=size)


@cache
def services() -> Services:
    """The services of this process, by the settings as they were when it was first asked for."""
    return Services(load_settings())


def page_services() -> Services:
    """What the pages talk to."""
    with _making:  # pages and requests are served by many threads; the first of them makes it
        made = services()
        _ = made.search, made.sessions, made.notes, made.documents, made.classify, made.errands
        return made


def page_sessions() -> Sessions:
    """Who is signed in, for the door before the pages."""
    return page_services().sessions


def rest_backend() -> Services:
    """What the REST interface talks to: the same objects as the pages, of which it asks for these."""
    with _making:
        made = services()
        _ = made.search, made.vectors, made.keys, made.classify
        return made


def close_services() -> None:
    """Let go of what this process has open, if it has anything."""
    if services.cache_info().currsize:
        services().close()


_making = threading.Lock()
