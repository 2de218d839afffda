"""Pictures of every page, in both languages, by day and by night, and of the most read ones on a phone.

    python -m tests.screens --out docs/screens

builds the samples, maps them, teaches a classifier, lets an admin sign in, and takes the pictures again. ``--data``
keeps the data folder for the next run, ``--only search,map`` takes some.
"""

import argparse
import itertools
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from app.services.access import Role
from app.services.accounts import Accounts
from tests.crowd import CHROMIUM, SAMPLES, run_kalm, served

LANGUAGES = {"en": "en-US", "zh": "zh-CN"}
THEMES = ("light", "dark")
QUESTIONS = {"en": "why do leaves turn red", "zh": "蜜蜂怎样酿蜜"}
LIBRARY = Path(tempfile.gettempdir()) / "library"
"""Where the documents are while the pictures are taken: a page shows it."""

PHONE = {"width": 390, "height": 844}
DESK = {"width": 1280, "height": 900}
ON_PHONES = ("search", "document", "map", "classify", "corpora")
SECTIONS = ("corpora", "jobs", "versions", "models", "storage", "health", "settings", "audit")

_TOPICS = {
    "bees": "honey,hive,queen bee,nectar,drone bees,bee wax,pollen,bumblebee,beekeeper,swarm,蜂蜜,蜂巢,蜂王,花粉",
    "money": "bank loan,interest rate,inflation,stock market,tax,budget,wages,trade,debt,prices,利率,通货膨胀,股票,税",
    "sea": "longitude,harbour,sails,captain,compass,tides,shipwreck,lighthouse,navigation,crew,航海,船长,灯塔,指南针",
}
_PASSWORD = "correct horse battery"  # noqa: S105 - of an account that lives as long as this program
_COLOURS = 128
_ANIMATION = 1_500
"""Milliseconds in which what was drawn has come to rest."""


@dataclass(frozen=True)
class Pages:
    """Where the pictures are taken: addresses by name and language."""

    url: str
    classifier: str

    def address(self, name: str, language: str) -> str:
        """Of a page whose name is that of its picture."""
        question = QUESTIONS[language]
        known = {
            "search": f"/?corpus=samples&q={question}",
            "document": f"/?corpus=samples&q={question}",
            "ask": "/ask?corpus=samples",
            "map": "/map?corpus=samples",
            "classify": "/classify",
            "check": self.classifier,
        }
        return self.url + known.get(name, f"/admin?section={name}&corpus=samples")


def main() -> None:
    """Prepare what the pages show, and take their pictures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("docs/screens"))
    parser.add_argument("--only", default="", help="Names of pictures, as search,map; all if not given.")
    parser.add_argument("--data", type=Path, help="Data folder to keep; what it has already is not built again.")
    chosen = parser.parse_args()
    names = [name for name in chosen.only.split(",") if name]
    with tempfile.TemporaryDirectory(prefix="kalm-screens-") as own, _chromium() as browser:
        data = chosen.data or Path(own)
        if not (data / "indexes" / "samples").is_dir():
            shutil.copytree(SAMPLES, LIBRARY, dirs_exist_ok=True)
            run_kalm(data, "corpus", "add", "samples", LIBRARY, "--include", "en/*", "--include", "zh/*")
            run_kalm(data, "index", "build", "samples")
        (data / "accounts.json").unlink(missing_ok=True)
        with served(data, KALM_CHAT_MODEL="openai:gpt-4.1-mini") as (url, _):
            pages = Pages(url, _prepare(browser, url))
            wanted = names or ["search", "document", "ask", "map", "classify", "check", *SECTIONS]
            for name, language, theme in itertools.product(wanted, LANGUAGES, THEMES):
                if name != "signin":
                    _take(browser, pages, name, chosen.out, language, theme)
            for name, (language, theme) in itertools.product(wanted, (("en", "light"), ("zh", "dark"))):
                if name in ON_PHONES:
                    _take(browser, pages, name, chosen.out, language, theme, PHONE)
        if not names or "signin" in names:
            _take_the_door(browser, data, chosen.out)


@contextmanager
def _chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        drawn = ["--enable-unsafe-swiftshader", "--use-gl=angle", "--use-angle=swiftshader"]  # the map is WebGL
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox", *drawn])
        yield browser
        browser.close()


def _prepare(browser: Browser, url: str) -> str:
    """Make a map, a classifier and what the admin's page shows, as a person would; the address of the second."""
    with browser.new_context(locale="en-US", viewport=DESK) as context:
        page = context.new_page()
        page.set_default_timeout(240_000)
        page.goto(f"{url}/?corpus=samples&q=tides")  # the first search opens the index
        page.locator(".kalm-card").first.wait_for()
        page.goto(f"{url}/map?corpus=samples")
        chart, make = page.locator(".js-plotly-plot").first, page.get_by_role("button", name="Make the map")
        chart.or_(make).first.wait_for()
        if make.is_visible():
            make.click()
        chart.wait_for()
        page.goto(f"{url}/classify")
        page.get_by_role("radio", name="Upload examples").click()
        rows = [f"{text.strip()},{label}" for label, texts in _TOPICS.items() for text in texts.split(",")]
        table = "\n".join(["text,label", *rows]).encode()
        page.locator("input[type=file]").set_input_files({"name": "t.csv", "mimeType": "text/csv", "buffer": table})
        page.get_by_role("button", name="Learn from these").click()
        page.get_by_text("Logistic regression").wait_for()
        classifier = page.url.removeprefix(url)
        page.goto(f"{url}/admin?section=storage")
        page.get_by_role("button", name="Measure now").click()
        page.locator(".kalm-table").first.wait_for()
        page.goto(f"{url}/admin?section=health")
        page.get_by_role("button", name="Examine everything").click()
        page.locator(".kalm-table").first.wait_for()
        return classifier


def _take(  # noqa: PLR0913 - one picture: where, what, how
    browser: Browser, pages: Pages, name: str, out: Path, language: str, theme: str, size: dict[str, int] = DESK
) -> None:
    with browser.new_context(locale=LANGUAGES[language], color_scheme=theme, viewport=size) as context:
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.goto(pages.address(name, language))
        if name == "document":
            page.goto(page.locator("a.kalm-open").first.evaluate("link => link.href"))
        if name in ("map", "check"):
            page.locator(".js-plotly-plot").first.wait_for()
        _settle(page)
        _keep(page, out / f"{name}{'-phone' if size is PHONE else ''}-{language}-{theme}.png")


def _take_the_door(browser: Browser, data: Path, out: Path) -> None:
    accounts = Accounts(data / "accounts.json", data / "locks" / "accounts")
    accounts.add("ann", Role.ADMIN, _PASSWORD)
    with served(data) as (url, _):
        for language, theme in itertools.product(LANGUAGES, THEMES):
            with browser.new_context(locale=LANGUAGES[language], color_scheme=theme, viewport=DESK) as context:
                page = context.new_page()
                page.goto(url)
                page.locator("input[type=password]").wait_for()
                page.wait_for_timeout(_ANIMATION)
                _keep(page, out / f"signin-{language}-{theme}.png")


def _settle(page: Page) -> None:
    page.locator(".kalm-name").first.wait_for()
    page.locator(".stApp[data-test-script-state=notRunning]").wait_for()
    page.wait_for_timeout(_ANIMATION)


def _keep(page: Page, path: Path) -> None:
    """Write a picture in few colours: a third of the room, and nothing that is seen."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(suffix=".png") as file:
        page.screenshot(path=file.name)
        with Image.open(file.name) as picture:
            picture.convert("RGB").quantize(_COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)


if __name__ == "__main__":
    if not shutil.which(str(CHROMIUM)):
        raise SystemExit(f"The pictures are taken with Chromium; install it as {CHROMIUM}.")
    main()
