"""The guides as a site: built without a warning, complete, and loading nothing from elsewhere."""

import ast
import os
import re
import subprocess
from urllib.parse import unquote, urlsplit

import pytest
from deployment import ROOT, program, read
from selectolax.lexbor import LexborHTMLParser

PUBLIC = {
    "embedder": ("embedder/__init__.py", "embedder"),
    "indexer.langchain": ("indexer/langchain/__init__.py", "langchain"),
}
"""Modules, where they say which of their names are public, and the page of the reference that has those."""
_FETCHED = ("src", "srcset", "data", "poster", "href")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder that ``make docs`` makes."""
    folder = tmp_path_factory.mktemp("site")
    built = subprocess.run(
        [program("mkdocs"), "build", "--strict", "--quiet", "--site-dir", folder],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (built.returncode, built.stdout, built.stderr) == (0, "", "")
    return folder


@pytest.fixture(scope="module")
def pages(site):
    """Every page, parsed, by its path."""
    return {path: LexborHTMLParser(path.read_text(encoding="utf-8")) for path in sorted(site.rglob("*.html"))}


def is_elsewhere(address):
    return re.match(r"(https?:)?//", address.strip())


def loaded(page):
    """What a browser fetches by itself to show a page."""
    for node in page.css("[src], [srcset], [data], [poster], link[href]"):
        yield from (value or "" for name, value in node.attributes.items() if name in _FETCHED)


def test_nothing_is_loaded_from_elsewhere(site, pages):
    assert [address for page in pages.values() for address in loaded(page) if is_elsewhere(address)] == []
    styles = [path.read_text(encoding="utf-8") for path in site.rglob("*.css")]
    styles += [style.text() for page in pages.values() for style in page.css("style")]
    addresses = [found for style in styles for found in re.findall(r"(?:url\(|@import)\s*['\"]?([^'\")]+)", style)]
    assert addresses
    assert [address for address in addresses if is_elsewhere(address)] == []
    # The theme's script would fetch a library for diagrams of a kind that the guides do without.
    assert [path.name for path, page in pages.items() if page.css(".mermaid")] == []


def test_links_within_the_site_lead_somewhere(site, pages):
    assert [
        (path.relative_to(site).as_posix(), link)
        for path, page in pages.items()
        if path.name != "404.html"  # its links are from the root, since it is shown at any address
        for node in page.css("a[href], img[src], script[src], link[href]")
        if leads_nowhere(link := node.attributes.get("href") or node.attributes["src"], path, pages)
    ] == []


def leads_nowhere(link, path, pages):
    """Whether a link from a page to another file of the site has no such file, or no such place in it."""
    address = urlsplit(link)
    if address.scheme or address.netloc:
        return False
    target = (path.parent / unquote(address.path)).resolve() if address.path else path
    if target in pages and address.fragment:
        return not has_place(pages[target], unquote(address.fragment))
    return not target.is_file()


def has_place(page, name):
    return any(node.id == name for node in page.css("[id]"))


def test_pages_that_are_kept_outside_of_the_guides_are_in_it(site, pages):
    assert pages[site / "index.html"].css_first("h1").text().startswith("KaLM Retrieval")
    assert pages[site / "architecture.html"].css_first("h1").text().startswith("Architecture")
    assert "examples/rag.py" in {node.attributes["href"] for node in pages[site / "langchain.html"].css("a[href]")}
    assert (site / "examples" / "rag.py").read_bytes() == (ROOT / "examples" / "rag.py").read_bytes()
    assert not (site / "hooks.py").exists()


@pytest.mark.parametrize("module", PUBLIC)
def test_every_public_name_is_in_the_reference(pages, site, module):
    source, reference = PUBLIC[module]
    (names,) = re.findall(r"^__all__ = (\[.*\])$", read(source), flags=re.MULTILINE)
    page = pages[site / "reference" / f"{reference}.html"]
    assert [name for name in ast.literal_eval(names) if not has_place(page, f"{module}.{name}")] == []


def test_it_is_built_where_git_does_not_look():
    assert "/site/" in read(".gitignore").splitlines()
    assert "site_dir: site\n" in read("mkdocs.yml")
