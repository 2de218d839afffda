"""Fixed pieces of the admin page as HTML strings, and quantities as people read them. Pure functions."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

from app.ui.i18n import Translator
from app.ui.markup import lang_attribute, plain

_SHOWN = 200
"""Lines of a long list; of the rest only the number is told."""


NOTHING = "–"
"""In a cell for which there is nothing to say."""

_FEW = 3
"""So many columns have room on a phone."""


class Html(str):
    """Text that is markup already, made by one of the functions here."""

    __slots__ = ()


def table(
    caption: str, columns: Sequence[str], rows: Iterable[Sequence[str]], t: Translator, *, numbers: Sequence[int] = ()
) -> str:
    """A table; one of many columns becomes a list of cards where there is little room.

    Args:
        caption: Told to screen readers.
        columns: Their names.
        rows: Cells as plain text, or as ``Html``.
        t: The wording.
        numbers: Which columns hold quantities, from 0.
    """
    kinds = ["kalm-number" if index in numbers else "" for index in range(len(columns))]
    head = "".join(
        f'<th scope="col" class="{kind}">{plain(name)}</th>' for name, kind in zip(columns, kinds, strict=True)
    )
    body = "".join(
        "<tr>"
        + "".join(
            f'<td class="{"kalm-none" if value == NOTHING else kind}" data-label="{plain(name)}">'
            f"<span>{_cell(value)}</span></td>"
            for name, kind, value in zip(columns, kinds, row, strict=True)
        )
        + "</tr>"
        for row in rows
    )
    css = "kalm-table kalm-cards" if len(columns) > _FEW else "kalm-table"
    return (
        f'<table class="{css}"{lang_attribute(t.language)}><caption>{plain(caption)}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    )


def badge(text: str, tone: str = "") -> Html:
    """A word that says how something stands; ``good``, ``busy`` and ``bad`` have a sign before it."""
    sign = {"good": "✓", "busy": "●", "bad": "!"}.get(tone, "")
    mark = f'<span aria-hidden="true">{sign}</span> ' if sign else ""
    return Html(f'<span class="kalm-badge kalm-{plain(tone or "plain")}">{mark}{plain(text)}</span>')


def code(text: str) -> Html:
    """A path, a name or a command, letter for letter."""
    return Html(f"<code>{plain(text)}</code>")


def heading(text: str, t: Translator) -> str:
    """A heading within a section."""
    return f'<h2 class="kalm-heading"{lang_attribute(t.language)}><bdi>{plain(text)}</bdi></h2>'


def line(text: str, t: Translator) -> str:
    """A quiet sentence."""
    return f'<p class="kalm-hint"{lang_attribute(t.language)}>{plain(text)}</p>'


def facts(pairs: Iterable[tuple[str, str]], t: Translator) -> str:
    """Names and values beside each other."""
    cells = "".join(f"<div><dt>{plain(name)}</dt><dd>{_cell(value)}</dd></div>" for name, value in pairs)
    return f'<dl class="kalm-facts kalm-close"{lang_attribute(t.language)}>{cells}</dl>'


def said(text: str, is_error: bool, t: Translator) -> str:
    """What came of something that was done."""
    role, tone = ("alert", "kalm-bad") if is_error else ("status", "kalm-good")
    sign = "!" if is_error else "✓"
    return (
        f'<p class="kalm-said {tone}" role="{role}"{lang_attribute(t.language)}>'
        f'<span aria-hidden="true">{sign}</span> {plain(text)}</p>'
    )


def reasons(title: str, found: Mapping[str, str], t: Translator, *, is_open: bool = False) -> str:
    """Files with what is wrong with each, behind a line that says how many they are."""
    shown = list(found.items())[:_SHOWN]
    items = "".join(f"<li><code>{plain(uri)}</code><span>{plain(reason)}</span></li>" for uri, reason in shown)
    return _disclosure("kalm-reasons", title, items, len(found), t, is_open)


def names(title: str, found: Sequence[str], count: int, t: Translator) -> str:
    """Names of the first of so many files, behind a line that says what they are."""
    items = "".join(f"<li><code>{plain(name)}</code></li>" for name in found[:_SHOWN])
    return _disclosure("kalm-reasons", title, items, count, t, False)


def size(count: float) -> str:
    """Bytes in the largest unit that leaves something before the point."""
    for unit in ("B", "KB", "MB", "GB"):
        if count < 1000:
            return f"{count:,.0f} {unit}" if unit == "B" or count >= 100 else f"{count:,.1f} {unit}"
        count /= 1000
    return f"{count:,.1f} TB"


def moment(when: datetime, t: Translator) -> str:
    """A day and a time, as the server counts them."""
    utc = when.astimezone(UTC)
    return t("admin.moment", date=t.date(utc), time=f"{utc:%H:%M}")


def duration(seconds: float, t: Translator) -> str:
    """Seconds, minutes or hours, as exact as one cares for."""
    if seconds < 100:
        return t("admin.duration.seconds", n=t.number(round(seconds)))
    if seconds < 6000:
        return t("admin.duration.minutes", n=t.number(round(seconds / 60)))
    return t("admin.duration.hours", n=f"{seconds / 3600:,.1f}")


def _cell(value: str) -> str:
    return value if isinstance(value, Html) else f"<bdi>{plain(value)}</bdi>"


def _disclosure(css: str, title: str, items: str, count: int, t: Translator, is_open: bool) -> str:
    rest = f"<li>{plain(t.count('admin.rest', count - _SHOWN))}</li>" if count > _SHOWN else ""
    opened = " open" if is_open else ""
    return (
        f'<details class="{css}"{opened}{lang_attribute(t.language)}><summary>{plain(title)}</summary>'
        f"<ul>{items}{rest}</ul></details>"
    )
