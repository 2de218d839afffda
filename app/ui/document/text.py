"""A document's text and fields as HTML strings. Pure functions; everything variable is escaped."""

from collections.abc import Sequence

from app.services.documents import DocumentView, Piece
from app.ui.i18n import Translator
from app.ui.markup import lang_attribute, plain
from indexer.retrieval.results import Span

_TABLES = frozenset({"csv", "jsonl", "json", "parquet", "xlsx"})
_VERBATIM = frozenset({"code", "csv", "jsonl", "json", "parquet"})
"""File types whose spaces mean something."""

_DOT = '<span class="kalm-dot" aria-hidden="true"> · </span>'


def head(view: DocumentView, t: Translator) -> str:
    """Title, file, kind."""
    parts = [view.uri]
    if view.key:
        parts.append(view.key)
    parts.append(t.file_type(view.file_type))
    if view.language:
        parts.append(t.document_language(view.language))
    source = _DOT.join(f"<bdi>{plain(part)}</bdi>" for part in parts)
    return (
        f'<header class="kalm-document"{lang_attribute(t.language)}>'
        f'<h2 class="kalm-document-title" dir="auto"{lang_attribute(view.language)}>{plain(view.title)}</h2>'
        f'<p class="kalm-source" dir="ltr">{source}</p></header>'
    )


def body(view: DocumentView, t: Translator) -> str:
    """The text shown: rows of tables as a small table, anything else under its headings."""
    if view.key and view.file_type in _TABLES:
        rows = [(t("document.field.title"), _lines(view.title)), *_fields(view)]
        rows.append((t("document.field.text"), _pieces(view, t)))
        return _table(rows, view, t)
    lead = "… " if view.start > view.first else ""
    more = " …" if view.end < view.last else ""
    shown = f"{lead}{_pieces(view, t)}{more}"
    return f'<article class="kalm-reading" dir="auto"{lang_attribute(view.language)}>{shown}</article>'


def fields(view: DocumentView, t: Translator) -> str:
    """What the file says of itself, author and date and the like; empty where it says nothing, or is a row."""
    if not view.details or (view.key and view.file_type in _TABLES):
        return ""
    return _table(_fields(view), view, t)


def _fields(view: DocumentView) -> list[tuple[str, str]]:
    return [(name, _lines(value)) for name, value in view.details.items()]


def _table(rows: Sequence[tuple[str, str]], view: DocumentView, t: Translator) -> str:
    cells = "".join(f'<tr><th scope="row" dir="auto">{plain(name)}</th><td>{value}</td></tr>' for name, value in rows)
    caption = f"<caption>{plain(t('document.fields'))}</caption>"
    return f'<table class="kalm-fields"{lang_attribute(view.language)}>{caption}<tbody>{cells}</tbody></table>'


def _pieces(view: DocumentView, t: Translator) -> str:
    above: tuple[str, ...] = ()
    made: list[str] = []
    for piece in view.pieces:
        made.append(_piece(piece, above, view, t))
        above = piece.headings
    return "".join(made)


def _piece(piece: Piece, above: tuple[str, ...], view: DocumentView, t: Translator) -> str:
    """One section. Its heading is the first line of its text, or stands above it where the text leaves it out."""
    heading, rest = "", 0
    if piece.headings and piece.is_start and piece.headings != above:
        first, _, _ = piece.text.partition("\n")
        if first.strip() == piece.headings[-1].strip():
            rest = len(first)
            inside = _marked(piece.text, (0, rest), piece.marked)
        else:
            inside = plain(piece.headings[-1])
        if piece.headings[-1].strip() != view.title.strip() or piece.marked and piece.marked[0] < rest:
            level = min(len(piece.headings) + 2, 6)
            heading = f'<h{level} dir="auto">{inside}</h{level}>'
    text = piece.text[rest:]
    start = rest + len(text) - len(text.lstrip("\n"))
    tone = " kalm-verbatim" if view.file_type in _VERBATIM else ""
    words = _marked(piece.text, (start, len(piece.text)), piece.marked)
    return f'{heading}<div class="kalm-text{tone}" dir="auto">{words}</div>' if words else heading


def _marked(text: str, window: Span, marked: Span | None) -> str:
    """A stretch of text, the part of it that belongs to the passage marked."""
    start, end = window
    low, high = (max(start, marked[0]), min(end, marked[1])) if marked else (start, start)
    if low >= high:
        return plain(text[start:end])
    return f'{plain(text[start:low])}<mark class="kalm-place">{plain(text[low:high])}</mark>{plain(text[high:end])}'


def _lines(value: str) -> str:
    return f'<div class="kalm-text" dir="auto">{plain(value)}</div>'
