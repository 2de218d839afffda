"""What MkDocs does not do by itself: pages of the site that are files outside of this folder, and the links to them.

Links in the documents are those of the repository, as GitHub follows them: ``docs/rest.md`` in README, ``../README.md``
in a guide. Here they become links between pages. One that leads nowhere stays as it is, and MkDocs reports it.
"""

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]

PAGES = {
    "README.md": "index.md",
    "ARCHITECTURE.md": "architecture.md",
    "CHANGELOG.md": "changelog.md",
    "examples/rag.py": "examples/rag.py",
}
"""Files of the repository, and what each is called in the site."""

_LINK = re.compile(r"(?<=\]\()([^)\s#:]+)(?=[)#])")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Put the files from outside beside those of this folder."""
    for source, page in PAGES.items():
        files.append(File.generated(config, page, abs_src_path=str(ROOT / source)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn the links of a document into those of its page."""
    name = page.file.src_uri
    source = next((source for source, own in PAGES.items() if own == name), f"docs/{name}")
    return _LINK.sub(lambda link: _in_site(link[0], posixpath.dirname(source), posixpath.dirname(name)), markdown)


def _in_site(link: str, folder: str, page_folder: str) -> str:
    """Where a link from a folder of the repository leads in the site, from a folder of the site."""
    target = posixpath.normpath(posixpath.join(folder, link))
    if (ROOT / target).is_dir():
        target += "/README.md"  # what GitHub shows of a folder
    if target not in PAGES and not target.startswith("docs/"):
        return link
    return posixpath.relpath(PAGES.get(target, target.removeprefix("docs/")), page_folder or ".")
