"""Bytes into text: which encoding a file is in, and what never gets into a document's text."""

import codecs
import functools
import io
import re
from collections.abc import Iterator
from typing import BinaryIO, TextIO

from indexer.readers.errors import UnreadableFile
from indexer.readers.source import Source

EMPTY = "The file is empty; there is nothing to index."
_BINARY = "The file holds binary data, not text; convert it to a supported format and index again."
_UNKNOWN = "The character encoding of the file is not recognised; save it as UTF-8 and index again."

_BLOCK_BYTES = 1 << 20
_SAMPLE_BYTES = 1 << 16
_MAX_CONTROL_SHARE = 0.02
_CHINESE = ("gb18030", "big5hkscs")
_PREFERENCE = 0.1
_MIN_SCORE = 0.7
_MIN_UTF16_SCORE = 0.9
_MAX_DAMAGE = 0.1
"""A file with fewer undecodable characters than this is that encoding with a few damaged bytes."""
_MAX_LOSS = 0.02

# The longest first: the mark of UTF-32 begins with that of UTF-16.
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (b"\x84\x31\x95\x33", "gb18030"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_SIGNATURES = (
    (b"%PDF-", "a PDF"),
    (b"PK\x03\x04", "a ZIP archive or an Office document"),
    (b"\xd0\xcf\x11\xe0", "an old Office document"),
    (b"{\\rtf", "an RTF document"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"\x89PNG", "an image"),
    (b"\xff\xd8\xff", "an image"),
    (b"GIF8", "an image"),
)
# Narrow names that files give to encodings, and the wider ones that decode all of what is found under them.
_WIDER = {
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "big5": "big5hkscs",
    "cp950": "big5hkscs",
    "iso8859-1": "cp1252",
    "ascii": "cp1252",
}
_DECLARABLE = re.compile(r"(?:cp|iso8859-|koi8-|shift_jis|euc_|iso2022_|gb|big5|mac-|tis-)[\w-]*")

_WESTERN = frozenset("àâäáãåæçéèêëíîïñóôöøßúûùüœÀÂÄÁÅÆÇÉÈÊËÍÎÑÓÔÖØÚÛÜŒ‘’“”–—…•€£§©®™°·«»¡¿\xa0")
_MAX_WESTERN_SHARE = 0.3
_MIN_WESTERN_SCORE = 0.95

_LINE_END = re.compile("\r\n?|[\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")
# Control characters, surrogates, and marks that nobody sees but that cut a word in two: soft hyphen, zero
# width space, word joiner, byte order mark.
_REMOVED = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x9f\xad\u200b\u2060\ufeff\ud800-\udfff]")
_CONTROL = bytes(code for code in range(32) if code not in b"\t\n\x0b\x0c\r\x1b")
_NOT_ASCII = re.compile(rb"[\x80-\xff]")


def clean(text: str) -> str:
    r"""The text with ``\n`` line ends and without NUL, other control characters and lone surrogates."""
    return _REMOVED.sub("", _LINE_END.sub("\n", text))


def read_text(source: Source, declared: str = "") -> str:
    """The whole file as clean text.

    Args:
        source: The file.
        declared: Encoding that the file says it is in; believed where the bytes agree.

    Raises:
        UnreadableFile: If the file is empty or blank, too large, not text, or in an unknown encoding.
        OSError: If the file cannot be opened or read.
    """
    return decode(source.read(), declared)


def decode(data: bytes, declared: str = "") -> str:
    """Like ``read_text``, of bytes at hand.

    Raises:
        UnreadableFile: If the data is empty or blank, is not text, or is in an unknown encoding.
    """
    text = clean(data.decode(detect_encoding(io.BytesIO(data), declared), errors="replace"))
    if not text.strip():
        raise UnreadableFile(EMPTY)
    return text


def open_text(source: Source) -> TextIO:
    """Open a file too large to be read at once; its lines are not yet clean, and keep their ends.

    Raises:
        UnreadableFile: If the file is empty, is not text, or is in an unknown encoding.
        OSError: If the file cannot be opened or read.
    """
    with source.open() as file:
        encoding = detect_encoding(file)
    return io.TextIOWrapper(source.open(), encoding=encoding, errors="replace", newline="")


def text_lines(file: TextIO, limit: int) -> Iterator[str]:
    """The lines of an open file.

    Raises:
        UnreadableFile: At a line of more characters than the limit, of which no more are read.
    """
    number = 1
    while line := file.readline(limit + 1):
        if len(line) > limit:
            raise UnreadableFile(
                f"Line {number} is longer than {limit:,} characters; break it into lines and index again."
            )
        yield line
        number += 1


def detect_encoding(file: BinaryIO, declared: str = "") -> str:
    """Name of the encoding of an open file; reads it to its end where it is UTF-8, in blocks.

    Raises:
        UnreadableFile: If the file is empty, is not text, or is in an unknown encoding.
    """
    block = file.read(_BLOCK_BYTES)
    if encoding := _marked_encoding(block):
        return encoding
    utf8 = codecs.getincrementaldecoder("utf-8")()
    while block:
        try:
            utf8.decode(block)
        except UnicodeDecodeError:
            return _legacy_encoding(block, declared)
        block = file.read(_BLOCK_BYTES)
    if utf8.getstate()[0]:
        file.seek(0)
        return _legacy_encoding(file.read(_BLOCK_BYTES), declared)
    return "utf-8"


def _marked_encoding(head: bytes) -> str:
    """What the first block gives away: a byte order mark, UTF-16 by its zeros, or that it is no text at all."""
    if not head:
        raise UnreadableFile(EMPTY)
    for mark, encoding in _BYTE_ORDER_MARKS:
        if head.startswith(mark):
            return encoding
    for signature, kind in _SIGNATURES:
        if head.startswith(signature):
            raise UnreadableFile(f"The file is {kind}, not text; convert it to a supported format and index again.")
    sample = head[:_SAMPLE_BYTES]
    controls = len(sample) - len(sample.translate(None, delete=_CONTROL))
    has_many = controls > _MAX_CONTROL_SHARE * len(sample)
    if (has_many or b"\0" in sample) and (encoding := _utf16(sample)):
        return encoding
    if has_many:
        raise UnreadableFile(_BINARY)
    return ""


def _legacy_encoding(block: bytes, declared: str) -> str:
    """Encoding of a block that is not UTF-8."""
    first = _NOT_ASCII.search(block)
    start = block.rfind(b"\n", 0, first.start()) + 1 if first else 0
    sample = block[start : start + _SAMPLE_BYTES]
    if _damage(sample, "utf-8") < _MAX_DAMAGE:
        return "utf-8"
    declared = _declared_encoding(declared)
    if declared and declared not in _CHINESE and _damage(sample, declared) < _MAX_DAMAGE:
        return declared
    scores = {encoding: _familiar_share(sample, encoding) for encoding in _CHINESE}
    if max(scores.values()) >= _MIN_SCORE:
        # Short text is often good in both. Else than by a declaration, mainland files are the commoner.
        scores[declared if declared in _CHINESE else "gb18030"] += _PREFERENCE
        return max(scores, key=scores.__getitem__)
    if _is_western(sample):
        return "cp1252"
    return _utf16(sample) or _by_statistics(sample)


def _is_western(sample: bytes) -> bool:
    """Whether nearly all that is not ASCII is what English, French, German or Spanish has in Windows-1252.

    charset-normalizer takes short texts in these for Central European, with "ę" for "ê".
    """
    chars = [char for char in _decoded_sample(sample, "cp1252") if not char.isascii()]
    familiar = sum(char in _WESTERN for char in chars)
    return len(chars) < _MAX_WESTERN_SHARE * len(sample) and familiar >= _MIN_WESTERN_SCORE * len(chars)


def _by_statistics(sample: bytes) -> str:
    # Here, not above: few files come this far.
    import charset_normalizer

    best = charset_normalizer.from_bytes(sample).best()
    if best is not None:
        return _widened(best.encoding)
    text = _decoded_sample(sample, "utf-8")
    if text.count("\ufffd") > _MAX_LOSS * len(text):
        raise UnreadableFile(_UNKNOWN)
    return "utf-8"  # English but for a few damaged bytes


def _widened(name: str) -> str:
    name = codecs.lookup(name).name
    return _WIDER.get(name, name)


def _declared_encoding(name: str) -> str:
    """The encoding that a file means by that name; empty for what is none, and for codecs that are not for text."""
    try:
        name = _widened(name)
    except (LookupError, ValueError):
        return ""
    return name if _DECLARABLE.fullmatch(name) else ""


def _decoded_sample(sample: bytes, encoding: str) -> str:
    """The sample as text, its cut-off last character left out."""
    return codecs.getincrementaldecoder(encoding)(errors="replace").decode(sample)


def _damage(sample: bytes, encoding: str) -> float:
    """Share of what is not ASCII in the sample that the encoding cannot decode."""
    text = _decoded_sample(sample, encoding)
    beyond_ascii = sum(not char.isascii() for char in text)
    return text.count("\ufffd") / beyond_ascii if beyond_ascii else 1.0


def _familiar_share(sample: bytes, encoding: str) -> float:
    """Share of what is not ASCII in the decoded sample that Chinese text is commonly made of."""
    chars = [char for char in _decoded_sample(sample, encoding) if not char.isascii()]
    familiar = _familiar_characters()
    return sum(char in familiar for char in chars) / len(chars) if chars else 0.0


def _utf16(sample: bytes) -> str:
    """Name of the UTF-16 without mark that the sample is in, or empty."""
    scores = {}
    for encoding in ("utf-16-le", "utf-16-be"):
        text = _decoded_sample(sample, encoding)
        familiar = _familiar_characters()
        scores[encoding] = sum(char in familiar or char.isascii() and char != "\0" for char in text) / max(1, len(text))
    best = max(scores, key=scores.__getitem__)
    return best if scores[best] >= _MIN_UTF16_SCORE else ""


@functools.cache
def _familiar_characters() -> frozenset[str]:
    """The first, common levels of GB 2312 (3,755 characters) and Big5 (5,401), punctuation, and European letters."""
    simplified = bytes(byte for lead in range(0xB0, 0xD8) for trail in range(0xA1, 0xFF) for byte in (lead, trail))
    trails = (*range(0x40, 0x7F), *range(0xA1, 0xFF))
    traditional = bytes(byte for lead in range(0xA4, 0xC7) for trail in trails for byte in (lead, trail))
    others = (
        *range(0xA1, 0x180),
        *range(0x391, 0x450),
        *range(0x2010, 0x2027),
        *range(0x3001, 0x3012),
        *range(0xFF01, 0xFF5F),
    )
    return frozenset(
        simplified.decode("gb2312", errors="ignore")
        + traditional.decode("big5", errors="ignore")
        + "".join(map(chr, others))
    )
