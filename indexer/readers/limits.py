"""How much of a file is read: what is larger, deeper or slower than this is refused, not waited for."""

from dataclasses import dataclass, field
from typing import NoReturn

from indexer.readers.errors import UnreadableFile

_MAX_BYTES_A_CHARACTER = 4
_EASY_BYTES = 10 << 20
"""Up to here nothing is said of a ratio: a short file of one repeated line packs well, and does no harm."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on one file of a corpus, with what is packed in it.

    Attributes:
        file_bytes: Of the file on disk.
        document_chars: Of one document's text. Formats that are read as a whole may have four bytes for each.
        line_chars: Of one line of a table in text form.
        pages: Of a PDF, slides of a presentation, sheets of a workbook.
        members: Files in an archive, those in archives within it among them.
        unpacked_bytes: Of all members together.
        unpack_ratio: Unpacked to packed size of one member, once it is beyond 10 MiB. Deflate's highest is 1032.
        nesting: Archives within archives; 1 is an archive that holds none.
        xml_depth: Elements within elements.
        seconds: Without a document coming back from the child process.
        memory_bytes: Address space of the child process, where the system can limit it.
    """

    file_bytes: int = 4 << 30
    document_chars: int = 20_000_000
    line_chars: int = 8_000_000
    pages: int = 20_000
    members: int = 100_000
    unpacked_bytes: int = 2 << 30
    unpack_ratio: int = 200
    nesting: int = 3
    xml_depth: int = 200
    seconds: float = 300.0
    memory_bytes: int = 2 << 30

    @property
    def document_bytes(self) -> int:
        """The most that is taken into memory of a format that is read as a whole."""
        return _MAX_BYTES_A_CHARACTER * self.document_chars


@dataclass
class Allowance:
    """What is left of the limits while one file is unpacked; archives within archives draw on the same one.

    Attributes:
        is_spent: Whether something was refused: nothing more of the file is to be read.
    """

    limits: Limits
    is_spent: bool = field(default=False, init=False)
    _members: int = field(default=0, init=False)
    _bytes: int = field(default=0, init=False)

    def take_members(self, count: int) -> None:
        """Count members of an archive.

        Raises:
            UnreadableFile: If there are more than allowed.
        """
        self._members += count
        if self._members > self.limits.members:
            self._refuse(f"The archive holds more than {self.limits.members:,} files; unpack it and index the files.")

    def take_bytes(self, count: int, unpacked: int, packed: int) -> None:
        """Count bytes that were just unpacked.

        Args:
            count: How many.
            unpacked: How many the member has come to with these.
            packed: How many bytes it was made of.

        Raises:
            UnreadableFile: If the member or all together are larger than allowed.
        """
        self._bytes += count
        if self._bytes > self.limits.unpacked_bytes:
            size = in_words(self.limits.unpacked_bytes)
            self._refuse(f"The file unpacks to more than {size}; split it and index the parts.")
        if unpacked > max(_EASY_BYTES, self.limits.unpack_ratio * packed):
            self._refuse(
                f"The file unpacks to more than {self.limits.unpack_ratio} times its size, as only one made to do "
                "harm does; if you trust it, unpack it and index the files."
            )

    def _refuse(self, reason: str) -> NoReturn:
        self.is_spent = True
        raise UnreadableFile(reason)


def in_words(count: int) -> str:
    """A number of bytes for people."""
    for unit, size in (("GB", 1 << 30), ("MB", 1 << 20), ("KB", 1 << 10)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count} bytes"
