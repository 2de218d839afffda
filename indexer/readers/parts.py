"""Office documents and books: XML in a ZIP archive, read part by part, without unpacking or expanding anything.

Own walk over the XML rather than python-docx, python-pptx and openpyxl: these hold every picture in memory, pass over
text in content controls, and leave bounds to the caller. Python's expat does the parsing here; a part that declares
a document type, which no honest one does and every entity bomb must, is refused before it is parsed.
"""

import lzma
import struct
import tarfile
import xml.etree.ElementTree as ET
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from types import TracebackType
from typing import IO, cast
from xml.parsers import expat

from indexer.readers.decoding import EMPTY
from indexer.readers.errors import UnreadableFile
from indexer.readers.layout import about
from indexer.readers.limits import Allowance
from indexer.readers.source import Source

_BLOCK_BYTES = 1 << 16
_ENCRYPTED_FLAG = 1
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_MAIN_PARTS = {
    "docx": "word/document.xml",
    "pptx": "ppt/presentation.xml",
    "xlsx": "xl/workbook.xml",
    "epub": "META-INF/container.xml",
}
_PROPERTIES = "docProps/core.xml"
# What the parsers of archives and of XML raise on broken data; they have no common class. RuntimeError: deep
# recursion, or a password where no flag says so. OSError: "invalid data stream" in bz2 and gzip.
_BROKEN = (
    zipfile.BadZipFile, tarfile.TarError, ET.ParseError, expat.ExpatError, zlib.error, lzma.LZMAError, struct.error,
    EOFError, OSError, RuntimeError, LookupError, ValueError, OverflowError,
)  # fmt: skip


@contextmanager
def broken_as_unreadable(kind: str) -> Iterator[None]:
    """Turn what parsers raise on broken data into an error for the user.

    Raises:
        UnreadableFile: Of a file of this kind, such as "Word document".
    """
    try:
        yield
    except _BROKEN as error:
        raise UnreadableFile(
            f"The {kind} is damaged, cut off or packed in an unusual way; get a complete copy and index again."
        ) from error


def packed_type(source: Source) -> str:
    """Type of a ZIP file by what is in it; empty where it is an archive like any other, or broken.

    Raises:
        OSError: If the file cannot be opened.
    """
    with source.open() as file:
        try:
            names = set(zipfile.ZipFile(file).namelist())
        except _BROKEN:
            return ""
    return next((kind for kind, part in _MAIN_PARTS.items() if part in names), "")


class Unpacked:
    """A stream of unpacked bytes that draws on an allowance."""

    def __init__(self, file: IO[bytes], packed: int, allowance: Allowance) -> None:
        self._file, self._packed, self._allowance = file, packed, allowance
        self._unpacked = 0

    def read(self, count: int = _BLOCK_BYTES) -> bytes:
        """The next bytes; empty at the end.

        Raises:
            UnreadableFile: If more come than is allowed.
        """
        data = self._file.read(max(1, min(count, 1 << 20)) if count >= 0 else 1 << 20)
        self._unpacked += len(data)
        self._allowance.take_bytes(len(data), self._unpacked, self._packed)
        return data

    def read_all(self, limit: int) -> bytes | None:
        """The rest; None where it is longer than the limit.

        Raises:
            UnreadableFile: If more come than is allowed.
        """
        blocks, length = [], 0
        while block := self.read():
            blocks.append(block)
            length += len(block)
            if length > limit:
                return None
        return b"".join(blocks)


class Parts:
    """The parts of an open Office document or book, by name. A context manager.

    Attributes:
        kind: What to call it in errors.
    """

    def __init__(self, source: Source, file_type: str, kind: str) -> None:
        """Open it.

        Raises:
            UnreadableFile: If it is empty, protected, damaged, or something else.
            OSError: If the file cannot be opened.
        """
        self.kind = kind
        self._source = source
        self._check_head(file_type)
        self._file = source.open()
        try:
            with broken_as_unreadable(kind):
                self._zip = zipfile.ZipFile(self._file)
            source.allowance.take_members(len(self._zip.infolist()))
            if _MAIN_PARTS[file_type] not in self._zip.NameToInfo:
                raise UnreadableFile(self._something_else(file_type))
        except UnreadableFile:
            self._file.close()
            raise

    def __enter__(self) -> "Parts":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def _check_head(self, file_type: str) -> None:
        head = self._source.head(1024)
        if not head.strip():
            raise UnreadableFile(EMPTY)
        if head.startswith(_OLE):
            raise UnreadableFile(
                f"The {self.kind} is protected by a password or in the format of old Office; save it as .{file_type} "
                "without a password and index again."
            )
        if not head.startswith(b"PK"):
            raise UnreadableFile(self._something_else(file_type))

    def _something_else(self, file_type: str) -> str:
        article = "an" if self.kind[0] in "aeiou" else "a"
        return (
            f"The file is named .{file_type} but is not {article} {self.kind}; give it the suffix of what it is and "
            "index again."
        )

    def __contains__(self, name: str) -> bool:
        return name in self._zip.NameToInfo

    def open(self, name: str) -> Unpacked:
        """A part as a stream.

        Raises:
            UnreadableFile: If there is no such part, or it is encrypted or damaged.
        """
        with broken_as_unreadable(self.kind):
            info = self._zip.getinfo(name)
            return unpack(self._zip, info, self._source)

    def read(self, name: str, limit: int) -> bytes | None:
        """A part's bytes; None where there are more than the limit.

        Raises:
            UnreadableFile: If there is no such part, or it is damaged.
        """
        stream = self.open(name)
        with broken_as_unreadable(self.kind):
            return stream.read_all(limit)

    def tree(self, name: str) -> ET.Element:
        """A small part as a whole.

        Raises:
            UnreadableFile: If there is no such part, or it is damaged.
        """
        root: ET.Element | None = None
        for event, element in self._events(name):
            if event == "start" and root is None:
                root = element
        if root is None:
            raise UnreadableFile(EMPTY)
        return root

    def elements(self, name: str, *wanted: str) -> Iterator[ET.Element]:
        """The outermost elements of some local names in a large part; each is let go when the next is asked for.

        Raises:
            UnreadableFile: If there is no such part, or it is damaged; perhaps only after some elements.
        """
        open_elements: list[ET.Element] = []
        inside = 0
        for event, element in self._events(name):
            if event == "start":
                open_elements.append(element)
                inside += local_name(element) in wanted
                continue
            open_elements.pop()
            if local_name(element) in wanted:
                inside -= 1
                if not inside:
                    yield element
                    if open_elements:
                        del open_elements[-1][:]

    def _events(self, name: str) -> Iterator[tuple[str, ET.Element]]:
        stream = self.open(name)
        prolog = _Prolog(self.kind)
        parser: ET.XMLPullParser[ET.Element] = ET.XMLPullParser(("start", "end"))
        depth = 0
        ended = False
        while not ended:
            with broken_as_unreadable(self.kind):
                block = stream.read()
                prolog.feed(block)
                if block:
                    parser.feed(block)
                else:
                    parser.close()
                    ended = True
                events = cast(list[tuple[str, ET.Element]], list(parser.read_events()))
            for event, element in events:
                depth += 1 if event == "start" else -1
                if depth > self._source.limits.xml_depth:
                    raise UnreadableFile(
                        f"The {self.kind} nests its content too deep to be read; save it again and index."
                    )
                yield event, element

    def properties(self) -> tuple[str, dict[str, str]]:
        """Title, and author and date, as Office documents say them; what is not said is left out."""
        if _PROPERTIES not in self:
            return "", {}
        fields = {local_name(element): (element.text or "").strip() for element in self.tree(_PROPERTIES)}
        day = fields.get("modified") or fields.get("created") or ""
        return fields.get("title", ""), about(
            fields.get("creator", ""), iso_date(day), language=fields.get("language", "")
        )

    def targets(self, name: str) -> dict[str, tuple[str, str]]:
        """The parts that a part refers to: kind of relationship and name of the part, by id."""
        folder, _, file_name = name.rpartition("/")
        relations = f"{folder}/_rels/{file_name}.rels".lstrip("/")
        if relations not in self:
            return {}
        return {
            element.get("Id", ""): (
                element.get("Type", "").rpartition("/")[2],
                resolve(folder, element.get("Target", "")),
            )
            for element in self.tree(relations)
            if element.get("TargetMode") != "External"
        }


class _Prolog:
    """Looks at a document up to its root element, and refuses one that declares a document type."""

    def __init__(self, kind: str) -> None:
        self._parser: expat.XMLParserType | None = expat.ParserCreate()
        self._parser.StartDoctypeDeclHandler = self._refuse
        self._parser.StartElementHandler = self._finish
        self._kind, self._finished = kind, False

    def feed(self, block: bytes) -> None:
        if self._parser is not None and not self._finished:
            self._parser.Parse(block, not block)
        if self._finished:
            self._parser = None

    def _finish(self, *_: object) -> None:
        self._finished = True

    def _refuse(self, *_: object) -> None:
        if not self._finished:
            raise UnreadableFile(
                f"The {self._kind} declares entities of its own, as only one made to do harm does; save it again with "
                "the program it is from and index."
            )


def unpack(archive: zipfile.ZipFile, info: zipfile.ZipInfo, source: Source) -> Unpacked:
    """A member of a ZIP archive as a stream within what is allowed.

    Raises:
        UnreadableFile: If it is encrypted; when it is read, if it is too large.
        zipfile.BadZipFile: And others named above, if it is broken.
    """
    if info.flag_bits & _ENCRYPTED_FLAG:
        raise UnreadableFile("The file is protected by a password; remove the protection and index again.")
    # The size that it says to have when packed cannot be larger than all there is.
    return Unpacked(archive.open(info), min(info.compress_size, source.size), source.allowance)


def resolve(folder: str, target: str) -> str:
    """Name of a part from the folder of the part that refers to it."""
    if target.startswith("/"):
        return target.lstrip("/")
    names = folder.split("/") if folder else []
    for name in target.split("/"):
        if name == ".." and names:
            names.pop()
        elif name not in ("", ".", ".."):
            names.append(name)
    return "/".join(names)


def local_name(element: ET.Element) -> str:
    """Name of an element without its namespace: there are two sets of these, of which "strict" is the rare one."""
    return element.tag.rpartition("}")[2]


def attribute(element: ET.Element, name: str) -> str:
    """An attribute by its local name; empty where it is not there."""
    return next((value for key, value in element.items() if key.rpartition("}")[2] == name), "")


def named(element: ET.Element, *names: str) -> Iterator[ET.Element]:
    """Descendants of some local names, in order."""
    return (below for below in element.iter() if local_name(below) in names)


def iso_date(text: str) -> str:
    """The day that a text in ISO 8601 begins with; empty where it is none."""
    try:
        return date.fromisoformat(text[:10]).isoformat()
    except ValueError:
        return text[:4] if text[:4].isdecimal() else ""
