"""Signing in with an OpenID Connect provider, through Streamlit; its ``[auth]`` secrets say which."""

from collections.abc import Mapping
from typing import Any

import streamlit as st
from streamlit.errors import StreamlitAuthError

from app.services.access import Forbidden, Person, Role
from app.services.sessions import NotSignedIn
from app.settings import Settings
from app.ui.i18n import Translator
from embedder.errors import AppError


class NoProvider(AppError):
    """Nobody said who the provider is."""


def person_of(settings: Settings) -> Person:
    """Who is at the page, by the provider's word.

    Raises:
        NotSignedIn: If they have not signed in.
        Forbidden: If none of their claims gives them a role.
    """
    if not st.user.get("is_logged_in", False):
        raise NotSignedIn("You are not signed in, or no longer; sign in again.")
    return person_by_claims(st.user.to_dict(), settings)


def person_by_claims(claims: Mapping[str, Any], settings: Settings) -> Person:
    """A person and the highest role their claims give them.

    An address counts only where the provider has not said that it is unverified.

    Raises:
        Forbidden: If they give none.
    """
    found = claims.get(settings.oidc_claim)
    if settings.oidc_claim == "email" and claims.get("email_verified") is False:
        found = None
    values = found if isinstance(found, list) else [found]
    names = [settings.oidc_roles[value] for value in values if isinstance(value, str) and value in settings.oidc_roles]
    if settings.oidc_default_role:
        names.append(settings.oidc_default_role)
    name = name_of(claims)
    if not names:
        raise Forbidden(f"{name} has no role here; ask an admin for one.")
    return Person(name, max((Role(role) for role in names), key=list(Role).index))


def name_of(claims: Mapping[str, Any]) -> str:
    """What to call somebody, by the provider's word."""
    return str(claims.get("email") or claims.get("name") or claims.get("sub") or "?")


def sign_in_button(t: Translator) -> None:
    """The way to the provider.

    Raises:
        NoProvider: If Streamlit knows none.
    """
    if st.button(t("signin.oidc"), type="primary", key="oidc"):
        try:
            st.login()
        except StreamlitAuthError as error:
            raise NoProvider(
                "No OpenID Connect provider is set up here; install kalm-retrieval[oidc] and write [auth] into "
                ".streamlit/secrets.toml, as docs/access.md says."
            ) from error
