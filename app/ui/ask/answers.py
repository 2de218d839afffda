"""An answer and its sources as HTML strings. Pure functions; everything variable is escaped."""

import re
from collections.abc import Sequence

from app.services.answering import cited
from app.ui.document.links import Place, document_address
from app.ui.i18n import Translator
from app.ui.markup import lang_attribute, plain
from indexer.search import SearchResult

_CITATION = re.compile(r"\[(\d{1,2})\]")


def answer_html(text: str, sources: Sequence[SearchResult], t: Translator) -> str:
    """What the model said, letter for letter, its citations as links to the sources below."""
    known = cited(text, sources)

    def link(found: re.Match[str]) -> str:
        number = int(found[1])
        title = plain(known[number].title) if number in known else ""
        return f'<a href="#source-{number}" title="{title}">[{number}]</a>' if number in known else found[0]

    # After escaping, so that only these links are markup: digits in brackets are the same before and after.
    linked = _CITATION.sub(link, plain(text))
    return f'<section class="kalm-answer" aria-live="polite" dir="auto"{lang_attribute(t.language)}>{linked}</section>'


def sources_html(corpus: str, text: str, sources: Sequence[SearchResult], t: Translator) -> str:
    """The sources that the answer names, or all of them where it names none, each with a way to open it."""
    named = cited(text, sources) or dict(enumerate(sources, start=1))
    title = t("ask.sources") if cited(text, sources) else t("ask.found")
    items = "".join(_source(corpus, number, source, t) for number, source in sorted(named.items()))
    return (
        f'<section class="kalm-sources"{lang_attribute(t.language)}><h2>{plain(title)}</h2><ol>{items}</ol>'
        f"<p>{plain(t('ask.caution'))}</p></section>"
    )


def _source(corpus: str, number: int, source: SearchResult, t: Translator) -> str:
    address = document_address(Place(corpus, source.document_id, source.chunk_id, interface=t.language))
    lang = lang_attribute(source.language)
    return (
        f'<li value="{number}" id="source-{number}"><a href="{plain(address)}" dir="auto"{lang}>'
        f'{plain(source.title)}</a> <span class="kalm-hint">{plain(source.uri)}</span>'
        f'<p dir="auto"{lang}>{plain(source.text[:400])}</p></li>'
    )
