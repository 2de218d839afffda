"""Reads files in a child process, which a hostile or broken file may bring down without harm.

The child is a fresh interpreter that runs ``child.py``: no fork of a process with threads and a model in it, and no
second run of the caller's main module, as ``multiprocessing`` would have it. It answers in JSON and not in pickles,
which whoever takes over the child could make run code here.
"""

import json
import os
import selectors
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import IO, Any, cast

from indexer.readers.errors import PartlyUnreadable, UnreadableFile
from indexer.readers.limits import Limits, in_words
from indexer.records import Document, Section

_START = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from indexer.readers.child import serve; serve()"
_CLOSE_SECONDS = 5.0
_PIPE_BYTES = 1 << 18


class ReaderProcess:
    """Reads files, one after the other, in one child process. A context manager.

    The child is started with the first file, and again after one that it did not survive. For one thread at a time.
    """

    def __init__(self, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self._child: subprocess.Popen[bytes] | None = None
        self._unread = bytearray()
        """What the child has answered beyond the last whole answer."""

    def __enter__(self) -> "ReaderProcess":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def pid(self) -> int | None:
        """The child's process id; None where none runs."""
        return self._child.pid if self._child is not None else None

    def close(self) -> None:
        """End the child; another read starts a new one."""
        child, self._child = self._child, None
        if child is None:
            return
        _pipe(child.stdin).close()
        try:
            child.wait(_CLOSE_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        _pipe(child.stdout).close()

    def read(self, path: Path, uri: str) -> Iterator[Document]:
        """Read the documents of a file, as ``indexer.readers.read`` does; they come in batches.

        Raises:
            UnreadableFile: On iteration, as there; also if the file takes too long or too much memory, or crashes
                the child.
            PartlyUnreadable: At the end, if only some members of an archive cannot be read.
        """
        child = self._running()
        finished = False
        try:
            self._send(child, path, uri)
            while True:
                answer = self._receive(child)
                yield from map(_document, answer["documents"])
                if answer["finished"]:
                    finished = True
                    break
            _raise(answer["error"], answer["partly"])
        finally:
            if not finished or child.poll() is not None:  # crashed, or nobody wants the rest
                self._kill()

    def _running(self) -> "subprocess.Popen[bytes]":
        if self._child is None or self._child.poll() is not None:
            self._kill()
            self._unread.clear()
            self._child = subprocess.Popen(
                [sys.executable, "-X", "utf8", "-c", _START, json.dumps(sys.path), json.dumps(asdict(self.limits))],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
        return self._child

    def _send(self, child: "subprocess.Popen[bytes]", path: Path, uri: str) -> None:
        try:
            _pipe(child.stdin).write(json.dumps({"path": str(path.absolute()), "uri": uri}).encode() + b"\n")
            _pipe(child.stdin).flush()
        except OSError as error:
            raise UnreadableFile(self._crash(child)) from error

    def _receive(self, child: "subprocess.Popen[bytes]") -> dict[str, Any]:
        """The next answer, waited for as long as is allowed; time that the caller takes between answers is not."""
        pipe, until = _pipe(child.stdout).fileno(), time.monotonic() + self.limits.seconds
        with selectors.DefaultSelector() as selector:
            selector.register(pipe, selectors.EVENT_READ)
            while b"\n" not in self._unread:
                if not selector.select(max(0.0, until - time.monotonic())):
                    self._kill()
                    raise UnreadableFile(
                        f"Reading the file took longer than {self.limits.seconds:g} seconds; split it and index the "
                        "parts."
                    )
                part = os.read(pipe, _PIPE_BYTES)
                if not part:
                    raise UnreadableFile(self._crash(child))
                self._unread += part
        line, _, self._unread = self._unread.partition(b"\n")
        return cast(dict[str, Any], json.loads(line))

    def _crash(self, child: "subprocess.Popen[bytes]") -> str:
        try:
            code = child.wait(_CLOSE_SECONDS)
        except subprocess.TimeoutExpired:
            code = 0
        return (
            f"Reading the file crashed its reader (exit code {code}): it is damaged or needs more than "
            f"{in_words(self.limits.memory_bytes)} of memory; get a good copy, or split it, and index again."
        )

    def _kill(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            child.kill()
            child.wait()
            for pipe in (child.stdin, child.stdout):
                try:
                    _pipe(pipe).close()
                except BrokenPipeError:
                    continue  # what was still to be sent to it


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    if pipe is None:
        raise RuntimeError("the child was started without pipes")
    return pipe


def _raise(error: str, partly: bool) -> None:
    if error:
        raise (PartlyUnreadable if partly else UnreadableFile)(error)


def _document(fields: dict[str, Any]) -> Document:
    sections = tuple(Section(start, end, tuple(headings), page) for start, end, headings, page in fields["sections"])
    return Document(**{**fields, "sections": sections})
