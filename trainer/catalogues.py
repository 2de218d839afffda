"""Sentences with their translations, out of the message catalogues that programs are translated with (gettext).

Games and desktop programs carry tens of thousands of sentences translated by people, under the licence of the
program. What is no sentence is left out: names of buttons, messages with something to be filled in, code, markup.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from trainer.columns import InvalidData

LICENCE_UNKNOWN = "that of the programs"

_HAN = re.compile(r"[\u3400-\u9fff]")
_WORD = re.compile(r"[A-Za-z]+(?:['’-][A-Za-z]+)*")
_TAG = re.compile(r"</?\w[^<>]*/?>|\[/?\w+[^\[\]]*\]")
_CONTEXT = re.compile(r"^[^\s^][^^\n]{0,60}\^")
"""What Wesnoth and others put before a message to tell it from another: ``weapon^sword``."""

_ACCELERATOR_IN_BRACKETS = re.compile(r"\s*[(（]\s*[_&~]\w\s*[)）]")
_ACCELERATOR = re.compile(r"(?<![\w&])[_&~](?=[^\W_])|(?<=\w)[_&](?=[a-z])")
_NO_PROSE = re.compile(
    r"%[-+ #0-9.*]*[a-zA-Z@(]|\$\w|\$\{|\{\w*\}|<<|>>|\|"  # to be filled in
    r"|\w\(\)|\w+_\w+|::|->|=>|==|\\\w|https?:|www\.|(?:^|\s)--?\w|(?:^|\s)/\w+/",  # code
)
_FEWEST_WORDS, _FEWEST_HAN = 4, 3
_LONGEST_LETTERS = 1500
_HAN_PER_WORD = (0.6, 4.0)
"""Of sentences that say the same; most are near 1.6."""


def catalogue_pairs(
    folders: Iterable[Path], *, language: str = "zh_CN", without: Iterable[str] = (), licence: str = LICENCE_UNKNOWN
) -> pa.Table:
    """A table of weak pairs, ``query`` and ``positive`` in turn the translation and the original.

    Args:
        folders: Searched with all below them for ``.mo`` and ``.po`` files of the language.
        language: gettext's name of it, one of Chinese.
        without: Texts, such as those of an evaluation, that neither side of a pair may be; letters and digits count.
        licence: Written into the schema metadata.

    Raises:
        InvalidData: If there is no catalogue, one cannot be read, or none has a sentence.
    """
    files = [file for folder in folders for file in catalogue_files(folder, language)]
    if not files:
        raise InvalidData(
            f"There is no {language} message catalogue in the folders given; name folders with LC_MESSAGES in them."
        )
    seen = {bare(text) for text in without}
    rows: list[dict[str, str]] = []
    for file in files:
        for original, translation in read_catalogue(file):
            pair = sentence_pair(original, translation)
            keys = {bare(text) for text in pair or ()}
            if pair and not keys & seen:
                seen |= keys
                sides = pair if len(rows) % 2 else pair[::-1]
                rows.append(dict(zip(("query", "positive"), sides, strict=True)))
    if not rows:
        raise InvalidData("The message catalogues hold no translated sentence; name others.")
    metadata = {"task": "weakly supervised pairs", "language": "zh-en", "licence": licence}
    return pa.Table.from_pylist(rows).replace_schema_metadata(metadata)


def catalogue_files(folder: Path, language: str) -> list[Path]:
    """The catalogues of a language below a folder: ``zh_CN/LC_MESSAGES/x.mo``, ``zh_CN.po``, ``x-zh_CN.po``."""
    named = re.compile(rf"(?:^|[^A-Za-z]){re.escape(language)}(?![A-Za-z_])")
    files = (file for file in folder.rglob("*") if file.suffix in (".mo", ".po") and file.is_file())
    return sorted(file for file in files if named.search(file.relative_to(folder.parent).as_posix()))


def read_catalogue(file: Path) -> Iterator[tuple[str, str]]:
    """The messages of a catalogue and their translations, of the plural the many.

    Raises:
        InvalidData: If it cannot be read.
    """
    from babel.messages.mofile import read_mo
    from babel.messages.pofile import PoFileError, read_po

    try:
        with file.open("rb") as opened:
            catalogue = read_mo(opened) if file.suffix == ".mo" else read_po(opened, abort_invalid=True)
    except (OSError, ValueError, KeyError, PoFileError) as error:
        raise InvalidData(f"The message catalogue {file} cannot be read; take it out or fetch it again.") from error
    for message in catalogue:
        if message.id and not message.fuzzy:
            originals, translations = _forms(message.id), _forms(message.string)
            yield originals[-1], translations[-1] if translations else ""


def sentence_pair(original: str, translation: str) -> tuple[str, str] | None:
    """A message and its translation as plain sentences; None if they are none, or do not look like each other's."""
    if _NO_PROSE.search(original) or len(original) > _LONGEST_LETTERS or original.upper() == original:
        return None
    original, translation = (_plain(text) for text in (original, translation))
    words, han = len(_WORD.findall(original)), len(_HAN.findall(translation))
    foreign = len(_WORD.findall(translation))
    if words < _FEWEST_WORDS or han < _FEWEST_HAN or foreign > han or _HAN.search(original):
        return None
    fewest, most = _HAN_PER_WORD
    return (original, translation) if fewest <= (han + foreign) / words <= most else None


def texts_of_tables(folder: Path) -> Iterator[str]:
    """Every text in the parquet files below a folder.

    Raises:
        InvalidData: If there is none.
    """
    files = sorted(folder.rglob("*.parquet"))
    if not files:
        raise InvalidData(f"There is no parquet file in {folder}, whose texts were to be left out.")
    for file in files:
        table = pq.read_table(file)
        for name in table.column_names:
            if pa.types.is_string(table.schema.field(name).type) or pa.types.is_large_string(table[name].type):
                yield from (text for text in table[name].to_pylist() if text)


def bare(text: str) -> str:
    """Letters and digits alone, in one case and width: what equal texts share."""
    return "".join(letter for letter in unicodedata.normalize("NFKC", text).lower() if letter.isalnum())


def _forms(text: object) -> list[str]:
    return [str(form) for form in text] if isinstance(text, list | tuple) else [str(text)]


def _plain(text: str) -> str:
    text = _TAG.sub("", _CONTEXT.sub("", text))
    text = _ACCELERATOR.sub("", _ACCELERATOR_IN_BRACKETS.sub("", text))
    return " ".join(text.replace("\\n", " ").split())
