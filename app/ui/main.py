"""The script Streamlit runs: ``streamlit run app/ui/main.py``."""

import streamlit as st

from app.bootstrap import search_backend
from app.ui.search_page import calm_errors, render, translator


def main() -> None:
    """Open the backend, which the first visitor waits for, and draw the page."""
    t = translator()
    with calm_errors(t):
        with st.spinner(t("app.opening")):
            backend = search_backend()
        render(backend)


# Streamlit runs this file under the name __main__, on every interaction.
if __name__ == "__main__":
    main()
