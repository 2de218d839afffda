"""Signing in: plain pages of their own, before Streamlit sees a request."""
