"""python -m pytest tests/indexer/readers/test_readers.py."""

import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embedder.errors import AppError
from indexer.readers import READER_VERSION, SUPPORTED, UnreadableFile, is_readable, read

TEXT = "Some words.\n\nAnd more."
HTML = "<!DOCTYPE html>\n<html><body><h1>Title</h1><p>Text.</p><script>no</script></body></html>"


@pytest.mark.parametrize(
    ("name", "readable"),
    [
        *((f"a/b{suffix}", True) for suffix in SUPPORTED),
        ("README.MD", True),
        ("a/fish-1.0.dist-info/METADATA", True),
        ("a/METADATA", False),
        ("fish-1.0.dist-info/RECORD", False),
        ("a/b.xyz", False),
        ("a/b", False),
        (".md", False),
        ("a/._notes.md", False),
        ("~$notes.txt", False),
        ("", False),
    ],
)
def test_which_files_are_readable(name, readable):
    assert is_readable(name) is readable


def test_the_version_is_a_word():
    assert READER_VERSION.strip()
    assert issubclass(UnreadableFile, AppError)


@pytest.mark.parametrize(
    "suffix", [suffix for suffix, kind in SUPPORTED.items() if kind in ("text", "markdown", "html")]
)
def test_a_file_is_one_document_of_its_type(read_content, suffix):
    (document,) = read_content(f"notes{suffix}", TEXT)
    assert (document.file_type, document.uri, document.key) == (SUPPORTED[suffix], f"notes{suffix}", "")
    assert document.text == TEXT or suffix.startswith(".htm")
    assert document.language == "en"


@pytest.mark.parametrize("name", ["page.md", "page.txt"])
@pytest.mark.parametrize("start", ["", "\ufeff\n ", "<!-- saved -->\n", '<?xml version="1.0"?>\n'])
def test_a_web_page_under_another_name_is_read_as_one(read_content, name, start):
    (document,) = read_content(name, start + HTML)
    assert (document.file_type, document.title, document.text) == ("html", "Title", "Title\n\nText.")


@pytest.mark.parametrize("name", ["file.txt", "file.md", "file.html", "file.csv", "file.jsonl"])
def test_a_pdf_under_another_name_is_read_as_one(read_content, build_pdf, name):
    (document,) = read_content(name, build_pdf([[(10.0, 700.0, "Words")]]))
    assert (document.file_type, document.text) == ("pdf", "Words")


def test_markdown_that_begins_with_markup_is_markdown(read_content):
    (document,) = read_content("README.md", '<div align="center">\n\n# Title\n\n</div>\n\ntext')
    assert (document.file_type, document.title) == ("markdown", "Title")


@pytest.mark.parametrize("suffix", SUPPORTED)
@pytest.mark.parametrize(
    "content", [b"", b"\xef\xbb\xbf", b"PK\x03\x04\x14\0\0\0", b"\x89PNG\r\n\x1a\n\0\0", bytes(range(256)) * 9]
)
def test_empty_and_binary_files_are_refused_in_one_sentence(read_content, suffix, content):
    with pytest.raises(UnreadableFile) as caught:
        read_content(f"file{suffix}", content)
    assert str(caught.value).endswith(".")
    assert "\n" not in str(caught.value)


def test_files_that_cannot_be_opened(tmp_path):
    folder = tmp_path / "folder.md"
    folder.mkdir()
    for path, reason in (
        (tmp_path / "gone.md", "gone"),
        (folder, "could not be read"),
        (tmp_path / "a.xyz", "not supported"),
    ):
        with pytest.raises(UnreadableFile, match=reason):
            list(read(path, path.name))


def test_reading_twice_gives_the_same(read_content):
    for name, content in (("a.md", "# T\n\ntext"), ("a.html", HTML), ("a.csv", "id,text\n1,x\n1,y\n")):
        assert read_content(name, content) == read_content(name, content)


def test_importing_the_readers_imports_no_parser():
    heavy = (
        "pypdfium2",
        "selectolax",
        "py3langid",
        "charset_normalizer",
        "numpy",
        "pyarrow",
        "xml",
        "zipfile",
        "email",
    )
    code = f"import sys, indexer.readers; print([name for name in {heavy} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


ANYTHING = st.text(st.characters() | st.sampled_from("\r\n\0\ud800#`*-_|>[]()<>&\t =~:.中，。 "), max_size=300)


@settings(deadline=None)
@given(ANYTHING, st.sampled_from(["a.txt", "a.md", "a.html", "a.csv", "a.jsonl", "x-1.dist-info/METADATA"]))
def test_any_text_is_read_or_refused(read_content, text, name):
    try:
        read_content(name, text)
    except UnreadableFile:
        return


@settings(deadline=None)
@given(st.text(st.sampled_from("#`~*-_|>[]()<>!=:+.0 1\\\n\tab中\r"), max_size=200), st.sampled_from(["a.txt", "a.md"]))
def test_no_letter_of_plain_words_is_lost(read_content, marks, name):
    try:
        (document,) = read_content(name, f"{marks}\n\nkept words\n")
    except UnreadableFile:
        return
    assert "kept words" in document.text or document.file_type == "html"


@settings(deadline=None)
@given(
    st.binary(max_size=300),
    st.sampled_from([f"a{suffix}" for suffix in SUPPORTED]),
    st.sampled_from([b"", b"%PDF-1.4\n", b"<p>", b"a,b\n"]),
)
def test_any_bytes_are_read_or_refused(read_content, data, name, start):
    try:
        read_content(name, start + data)
    except UnreadableFile:
        return
