"""The pages for signing in and out as HTML strings. Pure functions; everything variable is escaped."""

from pathlib import Path

from app.ui.i18n import Translator
from app.ui.markup import lang_attribute, plain

_STYLE = Path(__file__).with_name("style.css")


def sign_in_form(t: Translator, next_path: str, refusal: str = "") -> str:
    """The page that asks for a name and a password.

    Args:
        t: Wording.
        next_path: Where to go afterwards.
        refusal: What was wrong with the last try, if there was one.
    """
    alert = f'<p class="refusal" role="alert">{plain(refusal)}</p>' if refusal else ""
    return _page(
        t,
        t("signin.title"),
        f'<form method="post" action="/login?lang={plain(t.language)}"><h1>{plain(t("signin.title"))}</h1>{alert}'
        f'<label>{plain(t("signin.name"))}<input name="name" autocomplete="username" required autofocus></label>'
        f"<label>{plain(t('signin.password'))}"
        f'<input name="password" type="password" autocomplete="current-password" required></label>'
        f'<input name="next" type="hidden" value="{plain(next_path)}">'
        f"<button>{plain(t('signin.submit'))}</button></form>",
    )


def sign_out_form(t: Translator) -> str:
    """The page that asks whether to sign out: a link alone must not do it."""
    lang = plain(t.language)
    return _page(
        t,
        t("signout.title"),
        f'<form method="post" action="/logout?lang={lang}"><h1>{plain(t("signout.title"))}</h1>'
        f'<button>{plain(t("signout.submit"))}</button><a href="/?lang={lang}">{plain(t("signout.back"))}</a></form>',
    )


def refusal_page(t: Translator, sentence: str) -> str:
    """A page with one sentence."""
    title = t("app.title")
    return _page(t, title, f'<section><h1>{plain(title)}</h1><p role="alert">{plain(sentence)}</p></section>')


def _page(t: Translator, title: str, body: str) -> str:
    return (
        f"<!doctype html><html{lang_attribute(t.language)}><head><meta charset=utf-8>"
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{plain(title)}</title><style>{_STYLE.read_text(encoding='utf-8')}</style></head>"
        f"<body><main>{body}</main></body></html>"
    )
