"""The child process that reads files: requests on its input, documents on its output, a JSON object a line."""

import json
import os
import signal
import sys
import time
from dataclasses import astuple
from pathlib import Path
from typing import Any, BinaryIO

from indexer.readers import Limits, PartlyUnreadable, UnreadableFile, read
from indexer.readers.limits import in_words
from indexer.records import Document

_BATCH_DOCUMENTS = 256
_BATCH_CHARS = 1 << 20
_BATCH_SECONDS = 1.0


def serve() -> None:
    """Read the files that are asked for, until the input ends."""
    limits = Limits(**json.loads(sys.argv[2]))
    _limit_memory(limits.memory_bytes)
    # Whoever interrupts the parent means it to end this process, by closing its input.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Numerical libraries take address space for each core of the machine.
    os.putenv("OPENBLAS_NUM_THREADS", "1")
    os.putenv("OMP_NUM_THREADS", "1")
    # What a library prints must not get among the answers.
    with os.fdopen(os.dup(1), "wb") as output:
        os.dup2(2, 1)
        for line in sys.stdin.buffer:
            request = json.loads(line)
            _answer(output, Path(request["path"]), request["uri"], limits)


def _answer(output: BinaryIO, path: Path, uri: str, limits: Limits) -> None:
    """Send the documents of a file; the last answer says how it ended."""
    error, partly = "", False
    batch: list[dict[str, Any]] = []
    chars, sent = 0, time.monotonic()
    try:
        for document in read(path, uri, limits):
            batch.append(_fields(document))
            chars += len(document.text)
            if len(batch) == _BATCH_DOCUMENTS or chars >= _BATCH_CHARS or time.monotonic() - sent > _BATCH_SECONDS:
                _send(output, {"documents": batch, "finished": False})
                batch, chars, sent = [], 0, time.monotonic()
    except UnreadableFile as reason:
        error, partly = str(reason), isinstance(reason, PartlyUnreadable)
    except MemoryError:
        error = (
            f"Reading the file needs more than {in_words(limits.memory_bytes)} of memory; split it and index the parts."
        )
    except BrokenPipeError:
        raise SystemExit from None  # the parent is gone
    except Exception as reason:  # a bug of a reader: the other files are read all the same
        error = f"The file could not be read ({type(reason).__name__}); save it again or convert it, and index again."
    _send(output, {"documents": batch, "finished": True, "error": error, "partly": partly})


def _fields(document: Document) -> dict[str, Any]:
    return {
        "uri": document.uri,
        "key": document.key,
        "title": document.title,
        "text": document.text,
        "sections": [astuple(section) for section in document.sections],
        "file_type": document.file_type,
        "language": document.language,
        "metadata": dict(document.metadata),
    }


def _send(output: BinaryIO, answer: dict[str, Any]) -> None:
    output.write(json.dumps(answer, ensure_ascii=False).encode(errors="replace") + b"\n")
    output.flush()


def _limit_memory(limit: int) -> None:
    """Bound the address space, where the system can."""
    try:
        import resource
    except ImportError:
        return  # Windows: the bounds on sizes hold there too
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
