"""The script itself, and the files it depends on."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
from streamlit import config
from streamlit.testing.v1 import AppTest

import app.ui
from app.services.access import OWNER
from app.services.sessions import NotSignedIn
from app.settings import Access, Settings
from embedder.errors import AppError

UI = Path(app.ui.__path__[0])
CONFIG = UI / ".streamlit" / "config.toml"
ANN = {"is_logged_in": True, "email": "ann@example.org"}


@pytest.fixture
def run_main(monkeypatch):
    def run(search_backend, person=lambda: OWNER, user=None, **oidc):
        bootstrap = ModuleType("app.bootstrap")
        bootstrap.Services = object
        bootstrap.page_services = lambda: SimpleNamespace(
            search=search_backend(),
            notes=None,
            documents=None,
            maps=None,
            classify=None,
            tasks=None,
            admin=None,
            upkeep=None,
            sessions=SimpleNamespace(is_needed=False, person=lambda cookies: person()),
            settings=Settings(access=Access.OIDC if user else Access.LOCAL, **oidc),
            answering=None,
        )
        monkeypatch.setitem(sys.modules, "app.bootstrap", bootstrap)
        page = AppTest.from_file(str(UI / "main.py"), default_timeout=20)
        page.user = user or {}
        return page.run()

    return run


def test_the_script_draws_the_page_on_the_backend_it_is_given(run_main, backend):
    page = run_main(lambda: backend)
    assert not page.exception
    assert page.text_input(key="query").value == ""


def test_a_backend_that_cannot_open_is_explained(run_main):
    def closed():
        raise AppError("The data folder is locked by another process; stop it first.")

    page = run_main(closed)
    assert not page.exception
    assert any("locked by another process" in element.value for element in page.get("html"))


def test_who_is_no_longer_signed_in_is_told_so(run_main, backend):
    def ended():
        raise NotSignedIn("You are not signed in, or no longer; sign in again.")

    page = run_main(lambda: backend, ended)
    assert not page.exception
    assert any("sign in again" in element.value for element in page.get("html"))
    assert not page.text_input


def test_whom_a_provider_knows_can_sign_out(run_main, backend):
    page = run_main(lambda: backend, user=ANN, oidc_roles={"ann@example.org": "viewer"})
    assert page.text_input(key="query").value == ""
    assert "/logout" not in "".join(element.value for element in page.get("html"))
    page.button(key="sign_out").click().run()
    assert not page.exception
    assert page.user["is_logged_in"] is False
    assert page.button(key="oidc").label == "Sign in with your organisation"
    assert not page.text_input


def test_whom_a_provider_knows_and_nobody_here_can_take_another_account(run_main, backend):
    page = run_main(lambda: backend, user=ANN)
    assert any("ann@example.org has no role here" in element.value for element in page.get("html"))
    assert not page.text_input
    page.query_params["lang"] = "zh"
    page.run()
    assert any("ann@example.org 在这里没有任何角色" in element.value for element in page.get("html"))
    page.button(key="sign_out").click().run()
    assert page.user["is_logged_in"] is False
    assert page.button(key="oidc").label


def test_every_option_of_the_configuration_exists():
    known = {option.key for option in config._config_options_template.values()}
    sections = tomllib.loads(CONFIG.read_text(encoding="utf-8"))
    pairs = [(f"{section}.{name}", value) for section, values in sections.items() for name, value in values.items()]
    options = {name for name, value in pairs if not isinstance(value, dict)}
    options |= {f"{name}.{inner}" for name, value in pairs if isinstance(value, dict) for inner in value}
    assert options <= known


def test_a_file_as_large_as_an_upload_may_be_is_received():
    script = "import app.asgi; from streamlit import config; print(config.get_option('server.maxUploadSize'))"
    environment = {**os.environ, "KALM_UPLOAD_MEGABYTES": "512.5"}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, check=True)
    assert int(done.stdout) == 514


def test_nothing_is_fetched_from_the_network():
    sources = [CONFIG, *UI.rglob("*.css"), *UI.rglob("*.py")]
    for path in sources:
        text = path.read_text(encoding="utf-8")
        assert "https:" not in text, path
        assert "@import" not in text, path
        assert "url(" not in text, path


@pytest.mark.parametrize(("theme", "shade"), [("light", 0), ("dark", 1)])
def test_both_themes_are_readable(theme, shade):
    colours = tomllib.loads(CONFIG.read_text(encoding="utf-8"))["theme"][theme]
    css = (UI / "style.css").read_text(encoding="utf-8")
    pairs = re.findall(r"--kalm-(\w+): light-dark\((#\w{6}), (#\w{6})\)", css)
    own = {name: shades[shade] for name, *shades in pairs}
    for ground in (colours["backgroundColor"], colours["secondaryBackgroundColor"], own["surface"]):
        assert contrast(colours["textColor"], ground) >= 7
        assert contrast(colours["primaryColor"], ground) >= 4.5
        assert contrast(own["muted"], ground) >= 4.5
    assert own["accent"] == colours["primaryColor"]
    assert contrast(colours["textColor"], own["best"]) >= 7
    assert contrast(colours["textColor"], own["mark"]) >= 4.5


def contrast(a, b):
    """Contrast ratio of two colours (WCAG 2.2)."""
    lighter, darker = sorted((luminance(a), luminance(b)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def luminance(colour):
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
