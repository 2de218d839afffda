"""Archives: the documents of the files in them. Members are read as streams, and never written to a disk."""

import bz2
import gzip
import io
import lzma
import re
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import IO, BinaryIO, cast

from indexer.readers.decoding import EMPTY, clean, detect_encoding
from indexer.readers.errors import PartlyUnreadable, UnreadableFile
from indexer.readers.formats import file_type
from indexer.readers.layout import one_line
from indexer.readers.limits import in_words
from indexer.readers.parts import Unpacked, broken_as_unreadable, unpack
from indexer.readers.source import Source
from indexer.records import Document

_OUTSIDE = re.compile(r"/|[A-Za-z]:|(?:.*/)?\.\.(?:/|$)", re.DOTALL)
_MEMORY_SHARE = 4
"""A member is held in memory while it is read; this part of what the process may have is left for its bytes."""
_NAMED_MEMBERS = 3
_UTF8_FLAG = 0x800
_NAME_ENCODINGS = ("utf-8", "gb18030", "big5hkscs")
_TAR = "tar archive"
_NO_ZIP = "The file is named .zip but is not a ZIP archive; give it the suffix of what it is and index again."

Member = tuple[str, bytes | None]
"""Path in the archive, and content; None where it is too large."""

ReadMember = Callable[[Source, str], Iterator[Document]]
"""Reads a member as the type that its name says."""


def read_zip(source: Source, read_member: ReadMember) -> Iterator[Document]:
    """Read the documents of the files in a ZIP archive.

    The key of each is its path in the archive, with ``#`` and its own key where it is one of several in its file.
    Hidden files, links and files of other types are left out.

    Raises:
        UnreadableFile: If the archive is empty, protected, damaged, too large, names files outside of it, or holds
            none that can be read.
        PartlyUnreadable: At the end, if some of its files cannot be read.
        OSError: If the archive cannot be opened or read.
    """
    return _documents(source, _zip_members(source), read_member)


def read_tar(source: Source, read_member: ReadMember) -> Iterator[Document]:
    """Read the documents of the files in a tar archive, packed or not, as ``read_zip`` does.

    Raises:
        UnreadableFile: If the archive is empty, damaged, too large, names files outside of it, or holds none that
            can be read.
        PartlyUnreadable: At the end, if some of its files cannot be read.
        OSError: If the archive cannot be opened or read.
    """
    return _documents(source, _tar_members(source), read_member)


def _documents(source: Source, members: Iterator[Member], read_member: ReadMember) -> Iterator[Document]:
    failed: dict[str, str] = {}
    names: set[str] = set()
    found = False
    for name, content in members:
        if name in names:
            continue  # a file that was added anew to an archive stands in it twice
        names.add(name)
        if content is None:
            failed[name] = f"The file is larger than {in_words(_max_bytes(source))}; unpack it and index it."
            continue
        try:
            for document in read_member(source.member(name, content), file_type(name)):
                found = True
                yield replace(document, uri=source.uri, key=f"{name}#{document.key}" if document.key else name)
        except UnreadableFile as reason:
            if source.allowance.is_spent:
                raise
            failed[name] = str(reason)
            found = found or isinstance(reason, PartlyUnreadable)
    if failed:
        raise (PartlyUnreadable if found else UnreadableFile)(_failures(failed))
    if not found:
        raise UnreadableFile("The archive holds no file of a supported type; there is nothing to index.")


def _failures(failed: dict[str, str]) -> str:
    shown = "; ".join(f"{name}: {reason.rstrip('.')}" for name, reason in list(failed.items())[:_NAMED_MEMBERS])
    more = len(failed) - _NAMED_MEMBERS
    return f"Files in the archive could not be read ({shown}{f'; and {more} more' if more > 0 else ''})."


def _max_bytes(source: Source) -> int:
    return source.limits.memory_bytes // _MEMORY_SHARE


def _check_nesting(source: Source) -> None:
    limit = source.limits.nesting
    if source.depth >= limit:
        raise UnreadableFile(f"Archives are packed in one another more than {limit} deep; unpack them and index again.")


def _is_wanted(name: str) -> bool:
    """Whether a file of this path is read: of a supported type, and not hidden, as in a folder."""
    folders = name.split("/")
    return file_type(name) != "" and not any(folder.startswith(".") or folder == "__MACOSX" for folder in folders)


def _path(name: str) -> str:
    """The path of a member in a form that can be stored and shown.

    Raises:
        UnreadableFile: If it leads out of the archive.
    """
    name = name.replace("\\", "/")
    if _OUTSIDE.match(name):
        raise UnreadableFile(
            f"The archive names a file outside of it ({one_line(name, 80)}), as only one made to do harm does; if you "
            "trust it, unpack it and index the files."
        )
    name = name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return "/".join(part for part in clean(name).split("/") if part not in ("", "."))


def _zip_members(source: Source) -> Iterator[Member]:
    head = source.head(1024)
    if not head.strip():
        raise UnreadableFile(EMPTY)
    if not head.startswith(b"PK"):
        raise UnreadableFile(_NO_ZIP)
    _check_nesting(source)
    with source.open() as file:
        with broken_as_unreadable("ZIP archive"):
            archive = zipfile.ZipFile(file)
        source.allowance.take_members(len(archive.infolist()))
        for info in archive.infolist():
            name = _path(_zip_name(info))
            # Of a link the content is where it leads to.
            if info.is_dir() or stat.S_ISLNK(info.external_attr >> 16) or not _is_wanted(name):
                continue
            with broken_as_unreadable("ZIP archive"):
                content = unpack(archive, info, source).read_all(_max_bytes(source))
            yield name, content


def _zip_name(info: zipfile.ZipInfo) -> str:
    """Name of a member; where nobody says in which encoding, Chinese Windows has written it in its own."""
    if info.flag_bits & _UTF8_FLAG:
        return info.filename
    try:
        data = info.filename.encode("cp437")
        encoding = detect_encoding(io.BytesIO(data))
        return data.decode(encoding) if encoding in _NAME_ENCODINGS else info.filename
    except (UnreadableFile, UnicodeError):
        return info.filename


def _tar_members(source: Source) -> Iterator[Member]:
    if not source.head(1024).strip():
        raise UnreadableFile(EMPTY)
    _check_nesting(source)
    with source.open() as file:
        # Counted as it unpacks: members that are passed over are unpacked too.
        stream = Unpacked(_unpacking(file, source.head(8)), source.size, source.allowance)
        with broken_as_unreadable(_TAR):
            archive = tarfile.open(fileobj=cast(IO[bytes], stream), mode="r|", errors="surrogateescape")
        while (info := _next_member(archive)) is not None:
            source.allowance.take_members(1)
            name = _path(info.name)
            if not info.isreg() or info.issparse() or not _is_wanted(name):
                continue
            with broken_as_unreadable(_TAR):
                content = _tar_content(archive, info, _max_bytes(source))
            yield name, content


def _unpacking(file: BinaryIO, head: bytes) -> IO[bytes]:
    if head.startswith(b"\x1f\x8b"):
        return cast(IO[bytes], gzip.GzipFile(fileobj=file))
    if head.startswith(b"BZh"):
        return bz2.BZ2File(file)
    return lzma.LZMAFile(file) if head.startswith(b"\xfd7zXZ\0") else file


def _next_member(archive: tarfile.TarFile) -> tarfile.TarInfo | None:
    with broken_as_unreadable(_TAR):
        info = archive.next()
        archive.members.clear()  # type: ignore[attr-defined]  # it keeps all it has seen
        return info


def _tar_content(archive: tarfile.TarFile, info: tarfile.TarInfo, limit: int) -> bytes | None:
    if info.size > limit:
        return None
    file = archive.extractfile(info)
    content = file.read() if file is not None else b""
    if len(content) != info.size:
        raise EOFError(info.name)
    return content
