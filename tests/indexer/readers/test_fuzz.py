"""Valid files of every format, harmed at random: each is read or refused by the child process, which outlives it.

python -m pytest -s tests/indexer/readers/test_fuzz.py; KALM_TEST_FUZZ=2000 harms that many files. A file depends on its
number alone, so KALM_TEST_FUZZ=1 KALM_TEST_FUZZ_FIRST=1234 does the same to one of them again.
"""

import gzip
import io
import os
import random
import sys
import time
import zipfile
from collections import Counter
from pathlib import Path

import pytest
from reader_cases import CHINESE, make_docx, make_zip, replaced, valid_files

from indexer.readers import SUPPORTED, Limits, UnreadableFile
from indexer.readers.process import ReaderProcess

FUZZ = int(os.environ.get("KALM_TEST_FUZZ", "120"))
FIRST = int(os.environ.get("KALM_TEST_FUZZ_FIRST", "0"))
LIMITS = Limits(seconds=20.0)
TOKENS = (
    b"<", b">", b"&", b'"', b"/>", b"<a>", b"]]>", b"<!DOCTYPE x>", b"<!--", b"-9999999999999", b"1e999", b"NaN", b"\0",
    b"\n\n", b"[[[[", b"{", b"=?utf-8?b?x?=", b"\r\nContent-Type: multipart/mixed\r\n", b"charset=idna",
    b"\xed\xa0\x80", b"../", b"r:id", b"PK\x03\x04", b"obj", b"99999999999999999999",
)  # fmt: skip
NUMBERS = (b"\xff\xff\xff\xff", bytes(4), b"\x7f\xff\xff\xff", b"\0\0\0\x80")
_HEADER_BYTES = 32
_MOST_BYTES = 1 << 20


@pytest.fixture(scope="module")
def valid(build_pdf):
    """A readable file of every format, by name; archives of archives and other encodings among them."""
    files = valid_files(build_pdf([[(10.0, 700.0, "Words of a page")]] * 3, title="T", bookmarks=["One"]))
    inner = make_zip({"a.docx": make_docx(), "b.txt": CHINESE})
    encodings = {f"{name}.txt": (CHINESE * 5).encode(name) for name in ("gb18030", "utf-16")}
    return files | encodings | {"b.zip": make_zip({"inner.zip": inner, "c.md": "# C\n\nText."})}


def test_any_harm_to_a_valid_file_is_read_or_refused(valid, check_document, tmp_path):
    outcomes, slowest, largest = Counter(), 0.0, 0
    with ReaderProcess(LIMITS) as reader:
        for number in range(FIRST, FIRST + FUZZ):
            name, content = harmed_file(number, valid)
            path = tmp_path / name
            path.write_bytes(content)
            began = time.perf_counter()
            outcome = outcome_of(reader, path, check_document)
            slowest = max(slowest, time.perf_counter() - began)
            assert outcome in ("read", "partly read", "refused"), f"file {number}, {name}: {outcome}"
            outcomes[outcome] += 1
            largest = max(largest, peak_bytes(reader.pid))
            path.unlink()
    memory = f"{largest / 2**20:.0f} MiB at most"
    sys.stdout.write(f"\n{FUZZ} files: {dict(outcomes)}, slowest {slowest:.2f} s, {memory}, crashes 0, hangs 0\n")
    assert largest < 600 << 20, memory


def outcome_of(reader, path, check_document):
    """``read``, ``partly read``, ``refused``, or what is wrong with how it ended."""
    child, documents = reader.pid, []
    try:
        for document in reader.read(path, path.name):
            check_document(document)
            documents.append(document)
    except UnreadableFile as error:
        reason = str(error)
        if not reason.endswith(".") or "\n" in reason:
            return f"no sentence: {reason}"
        if "crashed its reader" in reason or "took longer" in reason or "The file could not be read (" in reason:
            return reason
        return "partly read" if documents else "refused"
    finally:
        survived = child in (None, reader.pid)
    if not survived:
        return "the child did not survive it"
    return "read"


def peak_bytes(pid):
    """Largest resident size of a process so far."""
    lines = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(lines["VmHWM"].split()[0]) * 1024


def harmed_file(number, valid):
    """A name and a content. Packed files are harmed before they are packed, or after; some get another name."""
    dice = random.Random(number)
    name = dice.choice(list(valid))
    content = valid[name]
    if zipfile.is_zipfile(io.BytesIO(content)) and dice.random() < 0.6:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            part = dice.choice(archive.namelist())
            part_content = archive.read(part)
        content = replaced(content, part, harmed(part_content, dice, valid) if dice.random() < 0.9 else None)
    elif name.endswith(".tar.gz") and dice.random() < 0.6:
        content = gzip.compress(harmed(gzip.decompress(content), dice, valid))
    else:
        content = harmed(content, dice, valid)
    return name if dice.random() < 0.8 else f"x{dice.choice(list(SUPPORTED))}", content


def harmed(content, dice, valid):
    """Bytes changed or taken out, or some put in: once or a few times."""
    content = bytearray(content)
    for _ in range(dice.choice((1, 1, 2, 5, 20))):
        at = dice.randrange(len(content) + 1)
        if dice.random() < 0.5:
            change(content, at, dice)
        else:
            content[at:at] = something_to_put_in(content, at, dice, valid)
            del content[_MOST_BYTES:]
    return bytes(content)


def change(content, at, dice):
    """A byte, a bit, a number or a piece of the header; or a stretch or the end is cut out."""
    match dice.randrange(6):
        case 0:
            content[at : at + 1] = dice.randbytes(1)
        case 1 if at < len(content):
            content[at] ^= 1 << dice.randrange(8)
        case 2:
            content[at : at + 4] = dice.choice(NUMBERS)
        case 3:
            start = dice.randrange(_HEADER_BYTES)
            content[start : start + dice.randrange(8)] = dice.randbytes(dice.randrange(8))
        case 4:
            del content[at : at + dice.randrange(40)]
        case 5 if dice.random() < 0.3:
            del content[at:]


def something_to_put_in(content, at, dice, valid):
    """A stretch again, once or many times, a token, or a piece of another file."""
    match dice.randrange(4):
        case 0:
            return content[at : at + dice.randrange(60)]
        case 1:
            return content[at : at + dice.randrange(400)] * dice.randrange(1_000)
        case 2:
            return dice.choice(TOKENS)
        case _:
            other = valid[dice.choice(list(valid))]
            start = dice.randrange(len(other))
            return other[start : start + dice.randrange(2_000)]
