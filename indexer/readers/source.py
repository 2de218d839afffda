"""What a reader reads: a file on disk, or a member of an archive, which is never written to one."""

import io
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from indexer.readers.errors import UnreadableFile
from indexer.readers.limits import Allowance, Limits, in_words


@dataclass(frozen=True, slots=True)
class Source:
    """Bytes under a name.

    Attributes:
        uri: Path relative to the corpus root, or within the archive.
        content: Where the file is, or what it holds.
        allowance: What may still be unpacked of the file on disk that this is or comes from.
        depth: Archives around it.
    """

    uri: str
    content: Path | bytes
    allowance: Allowance
    depth: int = 0

    @property
    def limits(self) -> Limits:
        """Bounds to keep to."""
        return self.allowance.limits

    @property
    def size(self) -> int:
        """Bytes.

        Raises:
            OSError: If the file is gone.
        """
        return self.content.stat().st_size if isinstance(self.content, Path) else len(self.content)

    def open(self) -> BinaryIO:
        """The bytes as a stream.

        Raises:
            OSError: If the file cannot be opened.
        """
        return self.content.open("rb") if isinstance(self.content, Path) else io.BytesIO(self.content)

    def head(self, count: int) -> bytes:
        """The first bytes.

        Raises:
            OSError: If the file cannot be opened or read.
        """
        with self.open() as file:
            return file.read(count)

    def read(self) -> bytes:
        """All bytes.

        Raises:
            UnreadableFile: If there are more than a document may have.
            OSError: If the file cannot be opened or read.
        """
        limit = self.limits.document_bytes
        with self.open() as file:
            data = file.read(limit + 1)  # not by its size, which may be another by now
        if len(data) > limit:
            raise UnreadableFile(f"The file is larger than {in_words(limit)}; split it and index the parts.")
        return data

    def member(self, uri: str, content: bytes) -> "Source":
        """A file that was packed in this one."""
        return replace(self, uri=uri, content=content, depth=self.depth + 1)


def file_source(path: Path, uri: str, limits: Limits | None = None) -> Source:
    """A file of the corpus."""
    return Source(uri, path, Allowance(limits or Limits()))
