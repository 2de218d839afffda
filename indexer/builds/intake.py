"""What comes of a file: found, read, compared with what the index has of it, and cut into passages.

It knows no database and has no effect, so it can be done on any machine that sees the file, and done again.
"""

import os
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from indexer.builds.sink import document_digest, indexed_document
from indexer.chunking import Chunker, passage_for_embedding
from indexer.readers import PartlyUnreadable, UnreadableFile
from indexer.readers.process import ReaderProcess
from indexer.records import Corpus, Document, FileOutcome, FileState, IndexedDocument, PlannedFile
from indexer.sources.downloads import Downloads
from indexer.sources.files import FoundFile, file_digest
from indexer.sources.remote import FetchFailed, RemoteFolder

GONE = "The file is gone since the build was planned; build again, and what the index has of it goes too."

OnDocument = Callable[[int, Sequence[str]], None]
"""Told after every document how many bytes of text its file has given so far, and the passages to embed, if any."""


@dataclass
class Intake:
    """Looks at the files of one corpus.

    Attributes:
        downloads: Keeps what is fetched of a corpus elsewhere; such a one cannot be read without.
    """

    corpus: Corpus
    chunker: Chunker
    reader: ReaderProcess
    downloads: Downloads | None = None

    def look(
        self,
        file: PlannedFile,
        before: FileState | None,
        known: Callable[[], Mapping[str, str]],
        on_document: OnDocument,
    ) -> FileOutcome:
        """What has become of a file; one that cannot be read is a failed row.

        Args:
            file: As it was planned.
            before: As the index has it, or None.
            known: Gives the digests of the documents that the index has of it, by id; asked only if it is read.
            on_document: Takes the passages.

        Raises:
            RemoteError: If nothing can be fetched from where the corpus is.
        """
        digest, error = "", ""
        documents: list[IndexedDocument] = []
        removed: list[str] = []
        found = FoundFile(Path(), file.size, file.mtime_ns)
        try:
            with self._found(file) as found:
                digest = file_digest(found.path)
                if before is None or before.error or before.digest != digest:
                    self._read(found.path, file.uri, known, on_document, documents, removed)
        except FileNotFoundError:
            return FileOutcome(None, GONE)
        except FetchFailed as reason:
            return FileOutcome(None, str(reason))  # not known, so that the next build tries again
        except UnreadableFile as reason:
            error = str(reason)
        except OSError as reason:
            error = f"The file cannot be opened ({reason.strerror}); check its permissions."
        state = FileState(found.size, found.mtime_ns, digest, error)
        return FileOutcome(state, error, tuple(documents), tuple(removed))

    @contextmanager
    def _found(self, file: PlannedFile) -> Iterator[FoundFile]:
        """A file as it is now, for the length of a block; one from elsewhere is fetched, as large and old as planned.

        Raises:
            FileNotFoundError: If it is gone.
            OSError: If it cannot be looked at.
            FetchFailed: If it cannot be fetched; RemoteError if nothing can.
            UnreadableFile: If it is a folder that may not be opened, or too large to be fetched.
        """
        name = os.fsdecode(file.path)
        if not self.corpus.url:
            path = self.corpus.root / name
            status = path.lstat()
            if stat.S_ISDIR(status.st_mode):
                _check_closed(path)
            if not stat.S_ISREG(status.st_mode):
                raise FileNotFoundError(name)
            yield FoundFile(path, status.st_size, status.st_mtime_ns)
            return
        assert self.downloads is not None  # noqa: S101 - whoever made this knows where its corpus is
        key = (self.corpus.url, name, str(file.size), str(file.mtime_ns))
        with self.downloads.file(key, file.size, lambda target: self._remote.fetch(name, target)) as path:
            yield FoundFile(path, file.size, file.mtime_ns)

    def _read(
        self,
        path: Path,
        uri: str,
        known: Callable[[], Mapping[str, str]],
        on_document: OnDocument,
        changed: list[IndexedDocument],
        removed: list[str],
    ) -> None:
        """Documents that changed are cut; those no longer in the file are named.

        The file is read to its end before anything is made of it, so that one that breaks half-way leaves its
        earlier version as it was. So does a file in an archive that cannot be read, the others in it aside.
        """
        documents: list[Document] = []
        partly: PartlyUnreadable | None = None
        try:
            documents.extend(self.reader.read(path, uri))
        except PartlyUnreadable as reason:
            partly = reason
        left = dict(known())
        size = 0
        for document in documents:
            passages: list[str] = []
            if left.pop(document.id(self.corpus.name), None) != document_digest(document):
                chunks = self.chunker.chunks(document)
                passages = [passage_for_embedding(document, chunk) for chunk in chunks]
                changed.append(indexed_document(self.corpus.name, document, chunks))
            size += len(document.text.encode(errors="replace"))
            on_document(size, passages)
        if partly is not None:
            raise partly
        removed.extend(left)

    @cached_property
    def _remote(self) -> RemoteFolder:
        return RemoteFolder(self.corpus.url)


def _check_closed(folder: Path) -> None:
    """Raise UnreadableFile if a folder may not be opened."""
    try:
        os.scandir(folder).close()
        os.lstat(f"{folder}/.")
    except PermissionError as error:
        raise UnreadableFile(
            f"The folder cannot be opened ({error.strerror}), so what the index has of its files stays; check its "
            "permissions."
        ) from error
