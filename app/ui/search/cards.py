"""Result cards and other fixed pieces of the page as HTML strings. Pure functions; everything variable is escaped."""

import re
from collections.abc import Sequence

from app.ui.document.links import document_link
from app.ui.i18n import Translator
from app.ui.markup import lang_attribute, plain
from app.ui.search.contract import CorpusInfo
from app.ui.search.passages import emphasised, snippet_window
from app.ui.search.state import PageState
from app.ui.search.why import why
from indexer.records import Duplicate
from indexer.search import Mode, SearchPage, SearchRequest, SearchResult, Span

_NUMBERED_ROW = re.compile(r"row-(\d+)", re.ASCII)
_BLANK_LINES = re.compile(r"\n\s*\n")
_SCORE_DIGITS = {Mode.SEMANTIC: 2, Mode.KEYWORD: 1, Mode.HYBRID: 1}
_NAMED_DUPLICATES = 20


def card(result: SearchResult, mode: Mode, best: Span | None, t: Translator) -> str:
    """One result. The best sentence may be None: it is filled in by a second call."""
    lang = lang_attribute(result.language)
    headings = [heading for heading in result.headings if heading.strip() != result.title.strip()]
    title = emphasised(result.title, (0, len(result.title)), result.title_highlights, None)
    path = f'<p class="kalm-path" dir="auto"{lang}>{_joined(headings, " › ")}</p>' if headings else ""
    return (
        f'<article class="kalm-card"{lang_attribute(t.language)}>'
        f'<p class="kalm-source" dir="ltr">{_joined(_source(result, t), _DOT)}</p>'
        f'<h2 class="kalm-title" dir="auto"{lang}>{title}</h2>'
        f"{path}{_passage(result, best, lang, t)}{_meta(result, mode, t)}{why(result, mode, t)}"
        "</article>"
    )


def passages(results: Sequence[SearchResult], mode: Mode, state: PageState, t: Translator) -> str:
    """The further passages of a document: where in it each stands, its text, its score and a way to open it."""
    shown = "".join(_further(one, mode, state, t) for one in results)
    return f'<ol class="kalm-passages"{lang_attribute(t.language)}>{shown}</ol>'


def _further(result: SearchResult, mode: Mode, state: PageState, t: Translator) -> str:
    lang = lang_attribute(result.language)
    page = [t("result.page", n=t.number(result.page))] if result.page is not None else []
    place = [*page, *(heading for heading in result.headings if heading.strip() != result.title.strip())]
    where = f'<p class="kalm-path" dir="auto"{lang}>{_joined(place, " › ")}</p>' if place else ""
    way = f"{_score(result, mode, t)}{_DOT}{_open(result.document_id, result.chunk_id, state, t)}"
    return f"<li>{where}{_passage(result, None, lang, t)}{way}</li>"


def status_line(request: SearchRequest, page: SearchPage, t: Translator) -> str:
    """How many results, how fast, and what kind of score they carry."""
    first = (request.page - 1) * request.page_size + 1
    if request.page == 1 and not page.has_more:
        found = t.count("status.results", len(page.results))
    else:
        found = t("status.range", first=t.number(first), last=t.number(first + len(page.results) - 1))
    took = t.seconds(page.encode_seconds + page.store_seconds)
    return (
        f'<div class="kalm-status"{lang_attribute(t.language)}><p role="status">{plain(found)}{_DOT}{plain(took)}</p>'
        f"<details><summary>{plain(t('score.about'))}</summary>"
        f"<p>{plain(t(f'score.{page.scored_by}.help'))}</p></details></div>"
    )


def notes(corpus: CorpusInfo, t: Translator) -> str:
    """What the reader should know about the corpus; empty when there is nothing to tell."""
    if not corpus.failed_files:
        return ""
    line = plain(t.count("note.failed", corpus.failed_files))
    return f'<div class="kalm-notes"{lang_attribute(t.language)}><p>{line}</p></div>'


def facts(corpus: CorpusInfo, t: Translator) -> str:
    """The corpus in numbers."""
    rows = [
        (t("facts.documents"), t.number(corpus.documents)),
        (t("facts.passages"), t.number(corpus.chunks)),
        (t("facts.model"), corpus.model),
    ]
    if corpus.updated is not None:
        rows.append((t("facts.updated"), t.date(corpus.updated)))
    cells = "".join(f"<div><dt>{plain(name)}</dt><dd>{plain(value)}</dd></div>" for name, value in rows)
    return f'<dl class="kalm-facts"{lang_attribute(t.language)}>{cells}</dl>'


def hint(text: str, t: Translator) -> str:
    """A line beside a control."""
    return f'<p class="kalm-hint"{lang_attribute(t.language)}>{plain(text)}</p>'


def refusal(sentence: str, t: Translator) -> str:
    """Why something that was given is not taken."""
    return f'<p class="kalm-refusal" role="alert"{lang_attribute(t.language)}>{plain(sentence)}</p>'


def welcome(has_examples: bool, t: Translator) -> str:
    """The first words to someone who has not asked yet; they may lead to examples."""
    examples = f"<p>{plain(t('welcome.examples'))}</p>" if has_examples else ""
    return (
        f'<section class="kalm-welcome"{lang_attribute(t.language)}>'
        f"<h2>{plain(t('welcome.title'))}</h2><p>{plain(t('welcome.text'))}</p>{examples}</section>"
    )


def _joined(parts: Sequence[str], separator: str) -> str:
    """Parts side by side; ``bdi`` keeps one in another writing direction from disturbing the rest."""
    return separator.join(f"<bdi>{plain(part)}</bdi>" for part in parts)


def _source(result: SearchResult, t: Translator) -> list[str]:
    parts = [result.uri]
    if result.page is not None:
        parts.append(t("result.page", n=t.number(result.page)))
    if result.key:
        numbered = _NUMBERED_ROW.fullmatch(result.key)
        parts.append(t("result.row", row=numbered[1] if numbered else result.key))
    return parts


def _passage(result: SearchResult, best: Span | None, lang: str, t: Translator) -> str:
    lead = _repeated_lead(result)
    text = result.text[lead:]
    highlights = [(start - lead, end - lead) for start, end in result.highlights]
    best = (best[0] - lead, best[1] - lead) if best else None
    window, whole = snippet_window(text, highlights, best), (0, len(text))
    snippet = _BLANK_LINES.sub("\n", emphasised(text, window, highlights, best))
    shown = f'<p class="kalm-text" dir="auto"{lang}>{snippet}</p>'
    if window == whole:
        return shown
    return (
        f"{shown}"
        f'<details class="kalm-whole"><summary><span class="kalm-more">{plain(t("result.whole"))}</span>'
        f'<span class="kalm-less">{plain(t("result.less"))}</span></summary>'
        f'<p class="kalm-text" dir="auto"{lang}>{emphasised(text, whole, highlights, best)}</p></details>'
    )


def _repeated_lead(result: SearchResult) -> int:
    """How many characters at the start only repeat the title and headings, which the card shows above the text."""
    above = {line.strip() for line in (result.title, *result.headings)} | {""}
    lead = 0
    for line in result.text.splitlines(keepends=True):
        if line.strip() not in above:
            return lead
        lead += len(line)
    return 0  # nothing but headings: better those than nothing


def _meta(result: SearchResult, mode: Mode, t: Translator) -> str:
    badges = [t.file_type(result.file_type)]
    if result.language:
        badges.append(t.document_language(result.language))
    shown = "".join(f'<span class="kalm-badge">{plain(badge)}</span>' for badge in badges)
    return f'<div class="kalm-meta">{shown}{_score(result, mode, t)}</div>'


def _score(result: SearchResult, mode: Mode, t: Translator) -> str:
    score = t(f"score.{mode}", score=f"{result.score:.{_SCORE_DIGITS[mode]}f}")
    return f'<span class="kalm-score" title="{plain(t(f"score.{mode}.help"))}">{plain(score)}</span>'


def duplicates(result: SearchResult, state: PageState, t: Translator) -> str:
    """The documents that say nearly the same, behind a line that says how many they are, each with a way to open it."""
    shown = result.duplicates[:_NAMED_DUPLICATES]
    names = "".join(f'<li dir="auto">{_duplicate(one, state, t)}</li>' for one in shown)
    rest = len(result.duplicates) - len(shown)
    more = f"<li>{plain(t.count('result.duplicate.rest', rest))}</li>" if rest else ""
    counted = plain(t.count("result.duplicates", len(result.duplicates)))
    return (
        f'<details class="kalm-duplicates"{lang_attribute(t.language)}><summary>{counted}</summary>'
        f"<ul>{names}{more}</ul></details>"
    )


def _duplicate(one: Duplicate, state: PageState, t: Translator) -> str:
    alike = t("result.duplicate.similar", percent=t.number(round(100 * one.similarity)))
    words = _joined([one.title, f"{one.uri} {one.key}".strip(), alike], _DOT)
    return f"{words}{_DOT}{_open(one.document_id, '', state, t)}"


def _open(document_id: str, passage_id: str, state: PageState, t: Translator) -> str:
    return document_link(state.corpus, document_id, passage_id, state.query, t, state.way_back)


_DOT = '<span class="kalm-dot" aria-hidden="true"> · </span>'
