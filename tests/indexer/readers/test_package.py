"""python -m pytest tests/indexer/readers/test_package.py."""

import pytest

from indexer.readers import UnreadableFile
from indexer.readers.rst import plain_text_of_rst

NAME = "fish-1.0.dist-info/METADATA"
HEAD = "Metadata-Version: 2.1\nName: fish\nVersion: 1.0\nSummary: Caught by all\n"


def one(documents):
    (document,) = documents
    return document


def test_a_package_with_a_markdown_readme(read_content):
    head = HEAD + "Home-page: https://fish.org\nLicense-Expression: MIT\nDescription-Content-Type: text/markdown\n"
    document = one(read_content(NAME, head + "\n[![ci](x.svg)](y)\n\nHello **there**.\n\n# Usage\n\n`fish()`\n"))
    assert (document.title, document.file_type, document.language) == ("fish", "package", "en")
    assert document.text == "fish: Caught by all\n\nHello there.\n\nUsage\n\nfish()"
    assert [section.headings for section in document.sections] == [(), ("Usage",)]
    assert dict(document.metadata) == {"version": "1.0", "license": "MIT", "home_page": "https://fish.org"}


def test_a_package_with_an_rst_readme(read_content):
    readme = ".. image:: x.svg\n   :alt: ci\n\nFish\n====\n\nSee `the docs <https://x.y>`_::\n\n    fish()\n"
    document = one(read_content(NAME, f"{HEAD}\n{readme}"))
    assert document.text == "fish: Caught by all\n\nFish\n\nSee the docs:\n\n    fish()"


def test_a_description_in_the_headers(read_content):
    text = HEAD + "Description: First line.\n        \n        Second line.\nLicense: UNKNOWN\n"
    assert one(read_content(NAME, text)).text == "fish: Caught by all\n\nFirst line.\n\nSecond line."


@pytest.mark.parametrize(
    ("lines", "license_", "home_page"),
    [
        ("License: " + "long " * 50 + "\nClassifier: License :: OSI Approved :: MIT License", "MIT License", ""),
        ("Project-URL: Changelog, https://c\nProject-URL: Source, https://s", "", "https://s"),
        ("Project-URL: Changelog, https://c\nHome-page: UNKNOWN", "", "https://c"),
    ],
)
def test_licence_and_home_page_from_where_they_are_given(read_content, lines, license_, home_page):
    metadata = one(read_content(NAME, f"{HEAD}{lines}\n")).metadata
    assert (metadata.get("license", ""), metadata.get("home_page", "")) == (license_, home_page)


@pytest.mark.parametrize(
    ("content", "reason"), [("", "empty"), ("Just text.\n", "does not describe"), ("\0\1\2" * 99, "binary")]
)
def test_bad_metadata_is_named(read_content, content, reason):
    with pytest.raises(UnreadableFile, match=reason):
        read_content(NAME, content)


@pytest.mark.parametrize(
    ("rst", "plain"),
    [
        ("a :py:func:`run` :ref:`text <target>` ``code``", "a run text code"),
        ("**bold** *it* 2 * 3 *args", "bold it 2 * 3 *args"),
        ("link `over\nlines <https://x>`__ here", "link over\nlines here"),
        ("|badge| |other|\n\ntext", "\ntext"),
        (".. note:: Mind this\n   and that", "Mind this\n   and that"),
        (".. code-block:: python\n   :linenos:\n\n   x = 1", "\n\n   x = 1"),
        (".. comment\n   more\n\ntext", "text"),
        (".. _target: https://x\n\ntext", "text"),
        (".. [1] A note", "A note"),
        ("+---+---+\n| a | b |\n+===+===+\n| c |   |\n+---+---+", "a | b\nc |"),
        ("Text ::\n\n::\n\n  x", "Text\n\n\n\n  x"),
    ],
)
def test_rst_as_text(rst, plain):
    assert "\n".join(line.rstrip() for line in plain_text_of_rst(rst).split("\n")) == plain
