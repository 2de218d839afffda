"""The script Streamlit runs: ``streamlit run app/ui/main.py``."""

import streamlit as st

from app.bootstrap import page_services
from app.ui.document import links
from app.ui.document import page as document
from app.ui.frame import calm_errors, translator
from app.ui.search import page as search


def main() -> None:
    """Open the services, which the first visitor waits for, and draw the page whose address was asked for."""
    t = translator()
    with calm_errors(t):
        with st.spinner(t("app.opening")):
            services = page_services()

        def search_page() -> None:
            search.render(services.search, services.notes)

        def document_page() -> None:
            document.render(services.documents)

        # No icons: of one from Streamlit's set the browser would ask a server of Google's for the tab.
        pages = [
            st.Page(search_page, title=t("nav.search"), url_path="search", default=True),
            st.Page(document_page, title=t("document.open"), url_path=links.PATH, visibility="hidden"),
        ]
        st.navigation(pages, position="top").run()


# Streamlit runs this file under the name __main__, on every interaction.
if __name__ == "__main__":
    main()
