"""A folder elsewhere: whatever fsspec has a driver for, by its address.

A driver brings its own errors, of its own libraries: whatever comes out of one is a sentence here, without anything
of an address that may be a secret. Credentials are the business of drivers, which read them from the environment or
from their own files; an address that holds some is refused, since the catalog would keep it for all to read.

A listing must be whole or fail: what it lacks is taken out of the index.
"""

import hashlib
import re
import time
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar
from urllib.parse import unquote

from embedder.errors import AppError
from indexer.readers import Limits, UnreadableFile, is_readable
from indexer.readers.limits import in_words
from indexer.sources.files import FoundFile, printable

_ADDRESS = re.compile(r"(?P<protocol>[a-z][a-z0-9+.-]*)://(?P<rest>.*)", re.IGNORECASE | re.DOTALL)
_MAY_BE_SECRET = re.compile(r"(?<=://)[^/@\s]*@|\?[^\s'\")]*")
"""Of an address in the words of a driver: what stands before the host, and what stands after a question mark."""

_HTTP = ("http", "https")
_CONNECT_SECONDS = 30.0
_SILENCE_SECONDS = 60.0
"""How long to wait for a web server; fsspec would wait for five minutes, and end a long download then."""

_VERSION = ("etag", "checksum", "md5", "md5hash", "content-md5", "digest", "sha256", "crc32c", "generation", "blob_id")
_TIMES = ("mtime", "last_modified", "lastmodified", "last-modified", "modified", "updated", "created")
"""What drivers call that by which a file is known to be another one."""

_UNFIT = re.compile(r"[\x00\ud800-\udfff]")
_MISSING = (404, 410)
_REASON_CHARS = 200
_Answer = TypeVar("_Answer")


class RemoteError(AppError):
    """An address that cannot be a corpus, or does not answer."""


class FetchFailed(Exception):
    """A file that cannot be had, while others can; the message is fit for a user."""


def is_address(place: str) -> bool:
    """Whether this is an address rather than a path."""
    return _ADDRESS.fullmatch(place) is not None


class RemoteFolder:
    """A folder, or a single file, at an address. It is asked on first use."""

    def __init__(self, url: str) -> None:
        """Take an address.

        Raises:
            RemoteError: If it holds credentials, or is not a plain address.
        """
        found = _ADDRESS.fullmatch(url)
        if found is None or "::" in url:
            raise RemoteError(
                "The address cannot be read; write it as PROTOCOL://FOLDER, for example s3://bucket/folder."
            )
        self.url = url
        self._protocol, rest = found["protocol"].lower(), found["rest"]
        before_at = rest.partition("@")[0] if "@" in rest else ""
        in_host = "@" in rest.partition("/")[0]
        if ":" in before_at or "?" in rest or (in_host and self._protocol in _HTTP):
            raise RemoteError(
                "The address holds a user, a password or a question mark with a key behind it, which would be kept for "
                f"all to read; leave that out and give it to the driver of {self._protocol}:// by the environment."
            )

    def check(self) -> None:
        """Ask for the folder.

        Raises:
            RemoteError: If it is not there, does not answer, or no driver is installed.
        """
        self._ask_root(lambda: self._fs.info(self._path))

    def find(self, is_wanted: Callable[[str], bool]) -> dict[str, FoundFile]:
        """Files, by their path relative to the address; names that begin with a dot are passed over.

        Args:
            is_wanted: Whether a file of this path is wanted.

        Raises:
            RemoteError: If the address does not answer, in whatever part, or lists no file that is wanted: that is
                rather a mistake than a wish to empty the index.
        """
        found: dict[str, FoundFile] = {}
        for name, listed in self._files():
            uri = printable(unquote(name, errors="surrogateescape") if self._protocol in _HTTP else name)
            if _is_plain(uri) and is_wanted(uri):
                info = self._whole(name, listed)
                if info is not None:
                    found[uri] = FoundFile(Path(self.url) / name, int(info.get("size") or 0), _stamp(info))
        if not found:
            raise RemoteError(f"{self.url} lists no file that is read; check the address.")
        return found

    def fetch(self, name: str, target: Path) -> None:
        """Fetch a file.

        Args:
            name: Its path relative to the address.
            target: Where to put it.

        Raises:
            FileNotFoundError: If it is not there any more.
            UnreadableFile: If it is larger than is read.
            FetchFailed: If it cannot be had, while the address answers.
            RemoteError: If the address does not answer.
        """
        most = Limits().file_bytes
        try:
            self._fs.get_file(self._base + name, str(target), callback=_bounded(most))
        except _TooLarge as error:
            raise UnreadableFile(f"The file is larger than {in_words(most)}; split it and index the parts.") from error
        except Exception as error:  # drivers raise what their libraries do
            if _is_missing(error):
                raise FileNotFoundError(name) from None
            RemoteFolder(self.url).check()  # a new one, which asks and remembers nothing
            raise FetchFailed(f"The file cannot be fetched ({_reason(error)}); index again later.") from None

    @cached_property
    def _opened(self) -> tuple[Any, str]:
        """The file system of the protocol, and what it calls the folder."""
        fs, path = self._ask_root(self._open)
        return fs, path

    def _open(self) -> tuple[Any, str]:
        import fsspec.core  # it takes long to load

        more: dict[str, Any] = {}
        if self._protocol in _HTTP:
            from aiohttp import ClientTimeout

            waiting = ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS, sock_read=_SILENCE_SECONDS)
            more["client_kwargs"] = {"timeout": waiting}
        # A new one, which remembers no listing.
        fs, path = fsspec.core.url_to_fs(self.url, skip_instance_cache=True, **more)
        return fs, path

    @property
    def _fs(self) -> Any:  # noqa: ANN401 - fsspec has no types
        return self._opened[0]

    @property
    def _path(self) -> str:
        return self._opened[1]

    @cached_property
    def _single(self) -> Mapping[str, Any] | None:
        """What is known of a single file; None for a folder. To a web server they are the same but for the name."""
        if not is_readable(PurePosixPath(self._path).name):
            return None
        info: Mapping[str, Any] = self._ask_root(lambda: self._fs.info(self._path))
        return info if info["type"] == "file" else None

    @cached_property
    def _base(self) -> str:
        """What names of files begin with."""
        folder = self._path.rpartition("/")[0] if self._single else self._path
        return folder.rstrip("/") + "/"

    def _files(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Every file with its name relative to the address."""
        if self._single:
            yield self._path.removeprefix(self._base), self._single
            return
        seen: set[str] = set()
        waiting = [self._path]
        while waiting:
            for info in self._listed(waiting.pop()):
                name = info["name"].removeprefix(self._base).rstrip("/")
                if not info["name"].startswith(self._base) or not _is_plain(name) or name in seen:
                    continue  # a link to elsewhere, a mark of the folder itself, what is hidden
                seen.add(name)
                if info["type"] == "directory":
                    waiting.append(info["name"])
                elif info["type"] == "file":
                    yield name, info

    def _listed(self, folder: str) -> list[Mapping[str, Any]]:
        """What is in a folder; nothing where it has gone meanwhile."""
        if folder == self._path:
            return self._ask_root(lambda: list(self._fs.ls(folder, detail=True)))
        try:
            return self._ask(lambda: list(self._fs.ls(folder, detail=True)))
        except FileNotFoundError:
            return []

    def _whole(self, name: str, listed: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """What is known of a file; None where it has gone meanwhile. Listings of some drivers hold names only."""
        if listed.get("size") is not None and _marks(listed):
            return listed
        try:
            return self._ask(lambda: dict(self._fs.info(self._base + name)))
        except FileNotFoundError:
            return None

    def _ask_root(self, call: Callable[[], _Answer]) -> _Answer:
        try:
            return self._ask(call)
        except FileNotFoundError:
            raise self._away("it is not there") from None

    def _ask(self, call: Callable[[], _Answer]) -> _Answer:
        """Call a driver: whatever goes wrong in it is one sentence.

        Raises:
            FileNotFoundError: If what is asked for is not there.
            RemoteError: If it cannot be had for another reason.
        """
        try:
            return call()
        except RemoteError:
            raise
        except ImportError as error:
            cause = error.__cause__ if isinstance(error.__cause__, ImportError) else error
            raise RemoteError(
                f"There is no driver for {self._protocol}:// here; run pip install {cause.name or 'its package'} where "
                "builds are carried out."
            ) from None
        except Exception as error:  # drivers raise what their libraries do
            if _is_missing(error):
                raise FileNotFoundError(self.url) from None
            if str(error).startswith("Protocol not known"):
                raise RemoteError(
                    f"Nothing is known of {self._protocol}://; fsspec knows s3, gs, hf, https ..."
                ) from None
            raise self._away(_reason(error)) from None

    def _away(self, reason: str) -> RemoteError:
        return RemoteError(
            f"{self.url} cannot be had ({reason}); check the address, the network and the credentials that the "
            "environment gives."
        )


class _TooLarge(Exception):
    """More came than is read."""


def _bounded(most: int) -> Any:  # noqa: ANN401 - fsspec has no types
    """Counts what is fetched: a server need not keep to the size that it has told."""
    from fsspec.callbacks import Callback

    class Bounded(Callback):  # type: ignore[misc]
        """Raises after so many bytes."""

        def relative_update(self, inc: int = 1) -> None:
            """Take note of some more."""
            super().relative_update(inc)
            if self.value > most:
                raise _TooLarge

    return Bounded()


def _is_plain(name: str) -> bool:
    """Whether a name can be kept and shown, and no part of it is hidden, empty or a way up."""
    return _UNFIT.search(name) is None and all(part and not part.startswith(".") for part in name.split("/"))


def _marks(info: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What tells one version of a file from another."""
    by_name = {name.lower(): value for name, value in info.items() if value}
    return [(name, str(by_name[name])) for name in (*_VERSION, *_TIMES) if name in by_name]


def _stamp(info: Mapping[str, Any]) -> int:
    """A number for the version of a file, which fits where a time is kept. Without any marks it is always new."""
    marks = _marks(info)
    if not marks:
        return time.time_ns()
    return int.from_bytes(hashlib.blake2b(repr(marks).encode(), digest_size=8).digest(), "big") >> 1


def _is_missing(error: Exception) -> bool:
    """Whether a file is not there, rather than its server: drivers call both the same, and keep the cause."""
    cause = error.__cause__
    if isinstance(error, FileNotFoundError):
        return cause is None or isinstance(cause, FileNotFoundError) or getattr(cause, "status", None) in _MISSING
    return getattr(error, "status", None) in _MISSING


def _reason(error: Exception) -> str:
    """What a driver says, without what may be a secret."""
    cause = error.__cause__ if isinstance(error.__cause__, Exception) else error
    lines = (str(cause) or type(cause).__name__).splitlines()
    return _MAY_BE_SECRET.sub("", lines[0])[:_REASON_CHARS].rstrip(". ")
