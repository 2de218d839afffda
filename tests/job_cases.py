"""A desk where runs are submitted and leased, with a clock that a test turns."""

from indexer.catalog.corpora import Catalog
from indexer.catalog.documents import Documents
from indexer.catalog.jobs import Jobs
from indexer.catalog.leases import Leases
from indexer.records import (
    ChunkPlace,
    Document,
    FileOutcome,
    FileState,
    IndexedDocument,
    Manifest,
    PlannedFile,
    Section,
)

MANIFEST = Manifest("m", "f", 8, "float32", 256, "c1", "r1", "l1", "edge")
LEASE = 10.0


class Desk:
    """Jobs and leases on one database, and a clock that goes when it is told to."""

    def __init__(self, folder, max_attempts=3, url=None):
        self.now = 1000.0
        self.catalog = Catalog(url or f"sqlite:///{folder}/catalog.sqlite")
        self.catalog.add_corpus("books", folder)
        self.jobs = Jobs(self.catalog.database, clock=lambda: self.now)
        self.leases = Leases(self.catalog.database, seconds=LEASE, max_attempts=max_attempts, clock=lambda: self.now)

    def submit(self, *uris, gone=(), base=None):
        files = [PlannedFile(uri, uri.encode(), 10, 1) for uri in uris]
        files += [PlannedFile(uri, b"", 0, 0, is_gone=True) for uri in gone]
        return self.jobs.submit("books", files, MANIFEST, base, by="test")

    def lease(self, run, owner, files=8, size_bytes=1000):
        return self.leases.lease(run.id, owner, files=files, size_bytes=size_bytes)

    def finish_files(self, run, owner="worker"):
        while tasks := self.lease(run, owner):
            for task in tasks:
                self.leases.complete(run.id, owner, [(task, outcome(task))])

    def write_store(self, run, owner="worker"):
        assert self.leases.lease_store(run.id, owner)
        self.leases.seal(run.id, owner, 0)
        return self.leases.finish(run.id, owner)


def outcome(task, error="", mark=""):
    """One document out of a file, or a reason for none; ``mark`` tells who made it."""
    if task.file.is_gone:
        return FileOutcome(None)
    uri = task.file.uri
    document = Document(uri, mark or uri, "text", (Section(0, 4),), "text")
    indexed = IndexedDocument(document.id("books"), document, "1", (ChunkPlace(f"chunk-{uri}", 0, 4),))
    return FileOutcome(FileState(10, 1, "digest", error), error, () if error else (indexed,))


def staged(desk, run):
    return sorted(one.document.uri for one in documents(desk, run))


def documents(desk, run):
    return Documents(desk.catalog.database).staged("books", run.generation)
