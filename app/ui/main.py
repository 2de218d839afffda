"""The script Streamlit runs: ``streamlit run app/ui/main.py``."""

import streamlit as st

from app.bootstrap import page_services
from app.ui.classify import page as classify
from app.ui.classify.contract import Backend as ClassifyBackend
from app.ui.frame import calm_errors, translator
from app.ui.search import page as search


def main() -> None:
    """Open the services, which the first visitor waits for, and draw the page whose address was asked for."""
    t = translator()
    with calm_errors(t):
        with st.spinner(t("app.opening")):
            services = page_services()

        def search_page() -> None:
            search.render(services.search)

        def classify_page() -> None:
            classify.render(ClassifyBackend(services.classify, services.tasks, services.search.corpora))

        # Without icons: a browser would fetch them from elsewhere, to show them in its tab.
        pages = [
            st.Page(search_page, title=t("nav.search"), url_path="search", default=True),
            st.Page(classify_page, title=t("nav.classify"), url_path="classify"),
        ]
        st.navigation(pages, position="top").run()


# Streamlit runs this file under the name __main__, on every interaction.
if __name__ == "__main__":
    main()
