"""The script Streamlit runs: ``streamlit run app/ui/main.py``."""

from collections.abc import Callable
from typing import Any

import streamlit as st
from streamlit.navigation.page import StreamlitPage

from app.bootstrap import Services, page_services
from app.services.access import Forbidden, Person, Role
from app.services.sessions import NotSignedIn
from app.settings import Access
from app.ui.admin import page as admin
from app.ui.ask import page as ask
from app.ui.classify import page as classify
from app.ui.classify.contract import Backend as ClassifyBackend
from app.ui.document import links
from app.ui.document import page as document
from app.ui.frame import admit, begin, calm_errors, translator, visitor
from app.ui.i18n import Translator
from app.ui.map import page as map_
from app.ui.markup import notice, plain
from app.ui.search import page as search
from app.ui.signin import oidc
from app.ui.signin.door import SIGN_IN


def main() -> None:
    """Open the services, which the first visitor waits for, and draw the page whose address was asked for."""
    t = translator()
    with calm_errors(t):
        with st.spinner(t("app.opening")):
            services = page_services()
        if not _enter(services, t):
            return

        st.navigation(_pages(services, t), position="top").run()


def _pages(services: Services, t: Translator) -> list[StreamlitPage]:
    """The pages this person may see, in the order of the navigation; services check again what they may do.

    None has an icon: of one from Streamlit's set the browser would ask a server of Google's for the tab.
    """

    def page(name: str, draw: Callable[[], None], **more: Any) -> StreamlitPage:  # noqa: ANN401 - options of st.Page
        return st.Page(draw, title=t(f"nav.{name}"), url_path=name, **more)

    pages = [
        page("search", lambda: search.render(services.search, services.notes), default=True),
        page(links.PATH, lambda: document.render(services.documents), visibility="hidden"),
    ]
    classifying = ClassifyBackend(services.classify, services.tasks, services.search.corpora)
    pages.append(page("map", lambda: map_.render(services.maps)))
    pages.append(page("classify", lambda: classify.render(classifying)))
    if (answering := services.answering) is not None:
        pages.append(page("ask", lambda: ask.render(answering)))
    if visitor().role.covers(Role.EDITOR):
        pages.append(page("admin", lambda: admin.render(services.admin, services.upkeep, services.errands)))
    return pages


def _enter(services: Services, t: Translator) -> bool:
    """Find out who is at the page; False if they have to sign in first, which they are told."""
    uses_oidc = services.settings.access is Access.OIDC and not services.sessions.is_needed

    def person() -> Person:
        return oidc.person_of(services.settings) if uses_oidc else services.sessions.person(st.context.cookies)

    admit(person, st.logout if uses_oidc else None)
    try:
        visitor()
    except NotSignedIn:
        begin(t("app.title"))
        if uses_oidc:
            oidc.sign_in_button(t)
        else:
            st.html(notice(t, t("signin.title"), t("signin.ended")))
            st.html(f'<a href="{SIGN_IN}?lang={t.language}" target="_self">{plain(t("signin.again"))}</a>')
        return False
    except Forbidden:
        begin(t("app.title"))
        refusal = t("signin.no_role.text", name=oidc.name_of(st.user.to_dict()))
        st.html(notice(t, t("signin.no_role"), refusal, alert=True))
        st.button(t("signin.other"), key="sign_out", on_click=st.logout)
        return False
    return True


# Streamlit runs this file under the name __main__, on every interaction.
if __name__ == "__main__":
    main()
