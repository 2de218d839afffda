"""Why a result is where it is, in plain words, as HTML strings. Pure functions; everything variable is escaped."""

from app.ui.i18n import Translator
from app.ui.markup import plain
from indexer.retrieval.background import Calibration
from indexer.search import Mode, SearchResult

_MOST_WORDS = 12
_COMMA = {"en": ", ", "zh": "、"}


def why(result: SearchResult, mode: Mode, t: Translator) -> str:
    """A disclosure: what each leg says of the passage, what that adds up to, and which words it shares.

    Args:
        result: The passage.
        mode: What its score is.
        t: The wording.
    """
    sentences = [_nearness(result, t), _words(result, mode, t)]
    said = "".join(f"<p>{plain(sentence)}</p>" for sentence in sentences if sentence)
    return (
        f'<details class="kalm-why"><summary>{plain(t("why.title"))}</summary>'
        f"<div>{_table(result, t)}{said}</div></details>"
    )


def _table(result: SearchResult, t: Translator) -> str:
    """A row for each leg: its figure, the place there, and what it contributed to the score."""
    fused, dense, lexical = result.evidence, result.dense, result.lexical
    by_meaning = None if dense is None else (t("why.cosine"), f"{dense.score:.3f}", dense.rank)
    by_words = None if lexical is None else ("BM25", f"{lexical.score:.1f}", lexical.rank)
    rows = [_row(t("why.meaning"), by_meaning, t), _row(t("why.words"), by_words, t)]
    if fused is None:
        return f"<table><tbody>{''.join(row + '</tr>' for row in rows)}</tbody></table>"
    parts = [f'<td class="kalm-figure">{plain(_signed(part))}</td></tr>' for part in (fused.dense, fused.lexical)]
    total = (
        f'<tr><th scope="row">{plain(t("why.fused"))}</th><td></td><td></td>'
        f'<td class="kalm-figure">{plain(f"{result.score:.1f}")}</td></tr>'
    )
    return f"<table><tbody>{rows[0]}{parts[0]}{rows[1]}{parts[1]}{total}</tbody></table>"


def _row(name: str, leg: tuple[str, str, int] | None, t: Translator) -> str:
    head = f'<tr><th scope="row">{plain(name)}</th>'
    if leg is None:
        return f'{head}<td colspan="2">{plain(t("why.absent"))}</td>'
    figure, score, rank = leg
    return f"{head}<td>{plain(figure)} {plain(score)}</td><td>{plain(t('why.rank', n=t.number(rank)))}</td>"


def _signed(part: float) -> str:
    return f"+ {part:.1f}"


def _nearness(result: SearchResult, t: Translator) -> str:
    """Where the cosine stands among those of random passages; empty where the vectors did not find the passage."""
    place = result.calibration
    if place is None:
        return ""
    return t(
        "why.nearness" if place.deviations >= 0 else "why.farness",
        share=_percent(place),
        n=t.number(place.passages),
        deviations=f"{abs(place.deviations):.1f}",
    )


def _percent(place: Calibration) -> str:
    """The share in percent, rounded down: nothing short of all is 100."""
    tenths = int(1000 * place.share)
    return f"{tenths // 10}" if tenths % 10 == 0 else f"{tenths / 10:.1f}"


def _words(result: SearchResult, mode: Mode, t: Translator) -> str:
    """The words of the question that the passage or its title holds."""
    places = [result.text[start:end] for start, end in result.highlights]
    places += [result.title[start:end] for start, end in result.title_highlights]
    words = list({word.casefold(): word for word in reversed(places)}.values())[::-1]
    if not words:
        return "" if mode is Mode.KEYWORD else t("why.none")
    more = "…" if len(words) > _MOST_WORDS else ""
    return t("why.matched", words=_COMMA[t.language].join(words[:_MOST_WORDS]) + more)
