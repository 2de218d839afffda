"""Signing in with an organisation's account, in a real browser, at an OpenID Connect provider made for tests."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from browser import open_window
from ports import free_port, wait_for

pytestmark = pytest.mark.browser

STYLES = "cdn.jsdelivr.net"
"""Where the provider's pages, and no others, have their looks from."""

SECRETS = """
[auth]
redirect_uri = "http://localhost:{port}/oauth2callback"
cookie_secret = "thirty-two characters of a secret"
client_id = "kalm"
client_secret = "known to the provider"
server_metadata_url = "{provider}/.well-known/openid-configuration"
"""

PEOPLE = (
    {"sub": "ann", "email": "ann@example.org", "email_verified": True},
    {"sub": "vera", "email": "vera@example.org", "email_verified": True},
    {"sub": "mallory", "email": "ann@example.org", "email_verified": False},
)


@pytest.fixture(scope="module")
def provider():
    """Address of a provider that knows three people."""
    port = free_port()
    people = [word for person in PEOPLE for word in ("--user-claims", json.dumps(person))]
    program = Path(sys.executable).with_name("oidc-provider-mock")
    with subprocess.Popen([program, "--port", str(port), *people], stderr=subprocess.DEVNULL) as process:
        try:
            wait_for(f"http://localhost:{port}/.well-known/openid-configuration", process, 60)
            yield f"http://localhost:{port}"
        finally:
            process.kill()


@pytest.fixture(scope="module")
def guarded(tmp_path_factory, tiny_model, kalm, serve, write, provider):
    """A server with one small corpus, an admin and a viewer, that knows people by the provider's word."""
    folder, port = tmp_path_factory.mktemp("guarded"), free_port()
    root, data = write(folder / "documents", **{"bees.md": "# Bees\n\nBees make honey.\n"}), folder / "data"
    write(folder / ".streamlit", **{"secrets.toml": SECRETS.format(port=port, provider=provider)})
    assert kalm(data, "corpus", "add", "bees", root, KALM_MODEL=tiny_model).code == 0
    assert kalm(data, "index", "build", "bees", KALM_MODEL=tiny_model).code == 0
    settings = {
        "HOME": folder,
        "KALM_MODEL": tiny_model,
        "KALM_ACCESS": "oidc",
        "KALM_OIDC_ROLES": json.dumps({"ann@example.org": "admin", "vera@example.org": "viewer"}),
    }
    with serve(data, port, **settings) as server:
        yield SimpleNamespace(url=server.url, provider=provider)


@pytest.fixture
def visitor(browser, guarded):
    """A window in which the provider's pages look plain."""
    with open_window(browser, guarded.url, hosts=("localhost", STYLES)) as window:
        window.page.route(f"https://{STYLES}/**", lambda route: route.fulfill(content_type="text/css", body=""))
        yield window


def sign_in(visitor, url, name):
    visitor.page.goto(url)
    visitor.click("Sign in with your organisation")
    visitor.page.wait_for_url("**/oauth2/authorize?**")
    visitor.click(name)
    visitor.page.wait_for_url(f"{url}/**")


def test_an_admin_signs_in_searches_and_signs_out(visitor, guarded):
    page = visitor.page
    page.goto(f"{guarded.url}/?q=honey&corpus=bees&mode=keyword")
    page.get_by_role("button", name="Sign in with your organisation").wait_for()
    assert "make honey" not in page.content()
    sign_in(visitor, guarded.url, "ann")
    page.get_by_role("searchbox").wait_for()
    visitor.open("/?q=honey&corpus=bees&mode=keyword").settle()
    assert visitor.titles() == ["Bees"]
    page.get_by_role("link", name="Admin").wait_for()

    visitor.click("Sign out")
    page.wait_for_url(f"{guarded.provider}/**")  # which is asked to end its session as well
    page.goto(f"{guarded.url}/?q=honey&corpus=bees&mode=keyword")
    page.get_by_role("button", name="Sign in with your organisation").wait_for()


def test_a_viewer_administers_nothing(visitor, guarded):
    sign_in(visitor, guarded.url, "vera")
    visitor.open("/?q=honey&corpus=bees&mode=keyword").settle()
    assert visitor.titles() == ["Bees"]
    assert visitor.page.get_by_role("link", name="Admin").count() == 0


def test_an_address_that_the_provider_has_not_verified_opens_nothing(visitor, guarded):
    page = visitor.page
    sign_in(visitor, guarded.url, "mallory")
    page.get_by_text("ann@example.org has no role here").wait_for()
    assert page.get_by_role("searchbox").count() == 0
    page.goto(f"{guarded.url}/?q=honey&corpus=bees&mode=keyword")
    page.get_by_text("ann@example.org has no role here").wait_for()
    assert "make honey" not in page.content()
