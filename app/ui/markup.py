"""Text as HTML and as labels: whatever it holds, it is shown and never obeyed. Pure functions."""

import html

from app.ui.i18n import Translator

_CONTROL = {code: " " for code in (*range(9), 11, 12, *range(14, 32), *range(0x7F, 0xA0))}
_BIDI = {code: None for code in (*range(0x202A, 0x202F), *range(0x2066, 0x206A))}
_SURROGATES = {code: "\ufffd" for code in range(0xD800, 0xE000)}
_HOSTILE = _CONTROL | _BIDI | _SURROGATES
_PUNCTUATION = {ord(char): f"\\{char}" for char in "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"}


def plain(text: str) -> str:
    """Text as HTML that shows it letter for letter.

    Markup is escaped. Characters that would reorder the text around them are left out, control characters become
    spaces, and halves of surrogate pairs, which cannot be sent at all, the replacement character.
    """
    return html.escape(text.translate(_HOSTILE), quote=True)


def as_label(text: str) -> str:
    """Text as a widget label that shows it letter for letter: labels are Markdown, with emoji and icon codes.

    What ``plain`` leaves out or replaces is left out or replaced here too.
    """
    return text.translate(_HOSTILE).translate(_PUNCTUATION)


def as_option(text: str) -> str:
    """Text as a choice of a selectbox, which is no Markdown, without what ``plain`` leaves out or replaces."""
    return text.translate(_HOSTILE)


def lang_attribute(code: str) -> str:
    """The attribute that lets browsers choose glyphs and screen readers a voice; plain ``zh`` leaves that to chance."""
    return f' lang="{plain("zh-Hans" if code == "zh" else code)}"'


def notice(t: Translator, title: str, *paragraphs: str, alert: bool = False) -> str:
    """A calm box with a title: nothing found, nothing there yet, or an error (``alert``)."""
    role = "alert" if alert else "status"
    text = "".join(f"<p>{plain(paragraph)}</p>" for paragraph in paragraphs)
    tone = " kalm-alert" if alert else ""
    return (
        f'<section class="kalm-notice{tone}" role="{role}"{lang_attribute(t.language)}>'
        f"<h2>{plain(title)}</h2>{text}</section>"
    )
