"""The script Streamlit runs: ``streamlit run app/ui/main.py``."""

import streamlit as st

from app.bootstrap import page_services
from app.services.access import Role
from app.ui.admin import page as admin
from app.ui.frame import calm_errors, translator, visitor
from app.ui.search import page as search


def main() -> None:
    """Open the services, which the first visitor waits for, and draw the page whose address was asked for."""
    t = translator()
    with calm_errors(t):
        with st.spinner(t("app.opening")):
            services = page_services()

        def search_page() -> None:
            search.render(services.search)

        pages = [
            st.Page(search_page, title=t("nav.search"), icon=":material/search:", url_path="search", default=True),
        ]
        if visitor().role.covers(Role.EDITOR):

            def admin_page() -> None:
                admin.render(services.admin, services.upkeep)

            pages.append(st.Page(admin_page, title=t("nav.admin"), icon=":material/settings:", url_path="admin"))
        st.navigation(pages, position="top").run()


# Streamlit runs this file under the name __main__, on every interaction.
if __name__ == "__main__":
    main()
