"""Training pairs from a folder of Markdown articles, made from their structure alone: headings, paragraphs, topics.

Enough to take every form of row through the trainer without any download. What a folder of articles is: one file an
article, ``# title``, an introduction, ``## heading`` and paragraphs; the folder that holds it names its topic.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from trainer.columns import InvalidData

_HAN = re.compile(r"[\u3400-\u9fff]")
_WORD = re.compile(r"[A-Za-z]+")
_HEADING = re.compile(r"(#{1,6})\s+(.+?)\s*#*$")
_FENCE = re.compile(r"^(```|~~~).*?^\1\s*$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")
_MARKS = re.compile(r"[*`]+|^\s*(?:[-+>]|\d+\.)\s+", re.MULTILINE)
_SENTENCE = re.compile(r"(?<=[。！？])|(?<=[.!?])\s+(?=[^a-z])")
_CJK_SHARE = 0.2


@dataclass(frozen=True, slots=True)
class _Section:
    title: str
    paragraphs: tuple[str, ...]

    @property
    def text(self) -> str:
        return "\n".join(self.paragraphs)


@dataclass(frozen=True, slots=True)
class _Article:
    topic: str
    language: str
    sections: tuple[_Section, ...]


def article_tables(folder: Path) -> dict[str, pa.Table]:
    """Tables by name, each with its task and language in the schema metadata; the same folder gives the same tables.

    For each language: ``titles`` (title and heading, and the section's text; weak pairs), ``sentences`` (a sentence,
    and its paragraph without it; retrieval), ``topics`` (a section and its topic; clustering) and ``closeness``
    (halves of a section score 1, sections of an article 0.5, sections of two topics 0; STS), named ``titles-en``
    and so on.

    Raises:
        InvalidData: If the folder is not there or holds no Markdown article.
    """
    articles = [_read(path) for path in sorted(folder.rglob("*.md"))] if folder.is_dir() else []
    articles = [article for article in articles if article.sections]
    if not articles:
        raise InvalidData(f"There is no Markdown article in {folder}; set data.root to articles:FOLDER.")
    tables = {}
    for language in sorted({article.language for article in articles}):
        ours = [article for article in articles if article.language == language]
        for kind, task, rows in (
            ("titles", "weak pairs", _titles(ours)),
            ("sentences", "retrieval", _sentences(ours)),
            ("topics", "clustering", _topics(ours)),
            ("closeness", "sts", _closeness(ours)),
        ):
            if made := list(rows):
                table = pa.Table.from_pylist(made)
                tables[f"{kind}-{language}"] = table.replace_schema_metadata({"task": task, "language": language})
    return tables


def _read(path: Path) -> _Article:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidData(f"The article {path} cannot be read; correct it or take it out.") from error
    han, words = len(_HAN.findall(text)), len(_WORD.findall(text))
    language = "zh" if han > _CJK_SHARE * (han + words) else "en"
    return _Article(path.parent.name, language, tuple(_sections(text, path.stem)))


def _sections(text: str, name: str) -> Iterator[_Section]:
    """The sections that have text; the first is the introduction, titled as the article is."""
    title, heading, paragraphs = name, "", list[str]()
    for block in re.split(r"\n\s*\n|\n(?=#)|(?<=\n)(?=[-+*] )", _FENCE.sub("", text)):
        found = _HEADING.match(block.strip())
        if found is None:
            if (plain := _plain(block)) and not plain.startswith("|"):
                paragraphs.append(plain)
            continue
        if paragraphs:
            yield _Section(f"{title} - {heading}" if heading else title, tuple(paragraphs))
        paragraphs = []
        if len(found[1]) == 1:
            title, heading = _plain(found[2]), ""
        else:
            heading = _plain(found[2])
    if paragraphs:
        yield _Section(f"{title} - {heading}" if heading else title, tuple(paragraphs))


def _plain(text: str) -> str:
    return " ".join(_MARKS.sub("", _LINK.sub(r"\1", text)).split())


def _split(paragraph: str) -> list[str]:
    return [sentence.strip() for sentence in _SENTENCE.split(paragraph) if sentence.strip()]


def _join(sentences: Iterable[str], language: str) -> str:
    return ("" if language == "zh" else " ").join(sentences)


def _titles(articles: Iterable[_Article]) -> Iterator[dict[str, Any]]:
    for article in articles:
        for section in article.sections:
            yield {"query": section.title, "positive": section.text}


def _sentences(articles: Iterable[_Article]) -> Iterator[dict[str, Any]]:
    for article in articles:
        for paragraph in (paragraph for section in article.sections for paragraph in section.paragraphs):
            sentences = _split(paragraph)
            for at, sentence in enumerate(sentences if len(sentences) > 1 else ()):
                yield {"query": sentence, "positive": _join(sentences[:at] + sentences[at + 1 :], article.language)}


def _topics(articles: list[_Article]) -> Iterator[dict[str, Any]]:
    if len({article.topic for article in articles}) < 2:
        return
    for article in articles:
        for section in article.sections:
            yield {"query": section.text, "label": article.topic}


def _closeness(articles: list[_Article]) -> Iterator[dict[str, Any]]:
    for at, article in enumerate(articles):
        others = [other for other in articles[at + 1 :] + articles[:at] if other.topic != article.topic]
        for number, section in enumerate(article.sections):
            sentences = _split(section.text)
            if len(sentences) > 1:
                half = len(sentences) // 2
                parts = (_join(part, article.language) for part in (sentences[:half], sentences[half:]))
                yield {**dict(zip(("query", "positive"), parts, strict=True)), "score": 1.0}
            if number:
                yield {"query": article.sections[number - 1].text, "positive": section.text, "score": 0.5}
            if others:
                far = others[number * 7 % len(others)]  # another article for every section, at random only in looks
                yield {"query": section.text, "positive": far.sections[number % len(far.sections)].text, "score": 0.0}
