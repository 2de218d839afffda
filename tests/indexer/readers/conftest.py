"""Fixtures for the readers' tests: files made on the spot, and checks of what holds always."""

import itertools
import unicodedata
from collections.abc import Callable, Sequence

import pytest

from indexer.readers import SUPPORTED, read
from indexer.records import Document

ReadContent = Callable[[str, str | bytes], list[Document]]


@pytest.fixture(scope="session")
def read_content(tmp_path_factory: pytest.TempPathFactory) -> ReadContent:
    """Write a file of a name and a content, read it, check its documents.

    Of session scope, so that hypothesis may use it: every call has a folder of its own.
    """
    root = tmp_path_factory.mktemp("files")
    numbers = itertools.count()

    def read_it(name: str, content: str | bytes) -> list[Document]:
        path = root / str(next(numbers)) / name
        path.parent.mkdir(parents=True)
        path.write_bytes(content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content)
        documents = list(read(path, name))
        for document in documents:
            check(document)
        return documents

    return read_it


@pytest.fixture(scope="session")
def check_document() -> Callable[[Document], None]:
    """A check of what holds of every document, for those that were read otherwise."""
    return check


def check(document: Document) -> None:
    """What holds of every document."""
    assert document.title.strip()
    assert document.file_type in {*SUPPORTED.values(), "package"}
    for text in (document.title, document.text, document.key, *document.metadata.values()):
        assert not any(unicodedata.category(char) == "Cs" or char in "\0\r" for char in text)
    assert document.sections
    end = 0
    for section in document.sections:
        assert section.start < section.end
        assert document.text[section.start : section.end].strip()
        assert not document.text[end : section.start].strip()
        end = section.end
    assert not document.text[end:].strip()


@pytest.fixture(scope="session")
def build_pdf() -> Callable[..., bytes]:
    """A function that makes a PDF by hand."""
    return make_pdf


def make_pdf(
    pages: Sequence[Sequence[tuple[float, float, str]]],
    *,
    title: str = "",
    encrypted: bool = False,
    bookmarks: Sequence[str] = (),
) -> bytes:
    """A PDF whose pages hold lines of (font size, height on the page, text), set in one font that maps to Unicode."""
    letters = sorted({char for page in pages for _, _, text in page for char in text})
    codes = {char: number for number, char in enumerate(letters, start=1)}
    mapping = "\n".join(f"<{codes[char]:04x}> <{char.encode('utf-16-be').hex()}>" for char in letters)
    widths = " ".join(f"{codes[char]} [{1000 if ord(char) > 0x2E80 else 500}]" for char in letters)
    cmap = (
        "begincmap 1 begincodespacerange <0000> <ffff> endcodespacerange"
        f" {len(letters)} beginbfchar\n{mapping}\nendbfchar endcmap"
    )
    kids = " ".join(f"{7 + 2 * number} 0 R" for number in range(len(pages)))
    first_page, first_mark = 7, 7 + 2 * len(pages)
    marks = range(first_mark, first_mark + len(bookmarks))
    objects = [
        f"<< /Type /Catalog /Pages 2 0 R {f'/Outlines {marks[-1] + 1} 0 R' if bookmarks else ''} >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>",
        "<< /Type /Font /Subtype /Type0 /BaseFont /Test /Encoding /Identity-H"
        " /DescendantFonts [4 0 R] /ToUnicode 5 0 R >>",
        f"<< /Type /Font /Subtype /CIDFontType2 /BaseFont /Test /W [{widths}]"
        " /CIDSystemInfo << /Registry (Adobe) /Ordering (Identity) /Supplement 0 >> >>",
        _stream(cmap),
        f"<< /Title <feff{title.encode('utf-16-be').hex()}> >>",
    ]
    for number, page in enumerate(pages):
        shown = "\n".join(
            f"BT /F1 {size} Tf 50 {height} Td <{''.join(f'{codes[char]:04x}' for char in text)}> Tj ET"
            for size, height, text in page
        )
        objects.append(
            "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 600 800] /Resources << /Font << /F1 3 0 R >> >>"
            f" /Contents {first_page + 2 * number + 1} 0 R >>"
        )
        objects.append(_stream(shown or "0 0 100 100 re f"))
    for number, (mark, name) in enumerate(zip(marks, bookmarks, strict=True)):
        following = f"/Next {mark + 1} 0 R" if mark != marks[-1] else ""
        page_object = first_page + 2 * number
        objects.append(f"<< /Title ({name}) /Parent {marks[-1] + 1} 0 R {following} /Dest [{page_object} 0 R /Fit] >>")
    if bookmarks:
        objects.append(f"<< /Type /Outlines /First {marks[0]} 0 R /Last {marks[-1]} 0 R /Count {len(bookmarks)} >>")
    return _assemble(objects, encrypted=encrypted)


def _stream(content: str) -> str:
    return f"<< /Length {len(content)} >>\nstream\n{content}\nendstream"


def _assemble(objects: Sequence[str], *, encrypted: bool) -> bytes:
    data = b"%PDF-1.4\n"
    offsets = []
    for number, content in enumerate(objects, start=1):
        offsets.append(len(data))
        data += f"{number} 0 obj\n{content}\nendobj\n".encode("latin-1")
    # Nobody knows the password that belongs to these check sums.
    lock = (
        f"/Encrypt << /Filter /Standard /V 1 /R 2 /P -4 /O <{'41' * 32}> /U <{'42' * 32}> >> /ID [<00> <00>]"
        if encrypted
        else ""
    )
    table = "".join(f"{offset:010d} 00000 n \n" for offset in offsets)
    trailer = f"<< /Size {len(objects) + 1} /Root 1 0 R /Info 6 0 R {lock} >>"
    end = f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}trailer\n{trailer}\nstartxref\n{len(data)}\n%%EOF\n"
    return data + end.encode("latin-1")
