"""Files made to do harm, and broken ones: each ends in one sentence.

python -m pytest tests/indexer/readers/test_hostile.py
"""

import gzip
import io
import random
import tracemalloc
import zipfile

import pytest
from reader_cases import make_docx, make_epub, make_pptx, make_tar, make_xlsx, make_zip, replaced, valid_files

from indexer.readers import SUPPORTED, Limits, UnreadableFile, read

MADE = {"docx": make_docx(), "pptx": make_pptx(), "xlsx": make_xlsx(S=[["a", "b"], [1, 2]]), "epub": make_epub()}
MAIN = {
    "docx": "word/document.xml",
    "pptx": "ppt/slides/slide1.xml",
    "xlsx": "xl/worksheets/sheet1.xml",
    "epub": "OPS/book.opf",
}
BILLION_LAUGHS = (
    '<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY a "lol">'
    + "".join(f'<!ENTITY {new} "{f"&{old};" * 10}">' for old, new in zip("abcdefghi", "bcdefghij", strict=True))
    + "]><document><body><p><t>&j;</t></p></body></document>"
)
EXTERNAL = '<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><document><body><p><t>&e;</t></p></body></document>'


@pytest.fixture(scope="session")
def valid(build_pdf):
    return valid_files(build_pdf([[(10.0, 700.0, "Words of a page")]], title="T", bookmarks=["One"]))


def refusal(read_content, name, content):
    with pytest.raises(UnreadableFile) as caught:
        read_content(name, content)
    message = str(caught.value)
    assert message.endswith(".")
    assert "\n" not in message
    return message


def complaint(read_content, name, content):
    """Why a file cannot be read, or "Read."."""
    try:
        read_content(name, content)
    except UnreadableFile as error:
        return str(error)
    return "Read."


@pytest.mark.parametrize("kind", MADE)
@pytest.mark.parametrize("content", [BILLION_LAUGHS, EXTERNAL, BILLION_LAUGHS.encode("utf-16")])
def test_entities_are_never_expanded(read_content, kind, content):
    data = replaced(MADE[kind], MAIN[kind], content)
    assert "declares entities" in refusal(read_content, f"a.{kind}", data)


@pytest.mark.parametrize("kind", MADE)
def test_a_part_that_unpacks_without_end_is_refused(read_content, kind):
    bomb = replaced(MADE[kind], MAIN[kind], b"<a>" + b" " * (64 << 20))
    assert len(bomb) < 200_000
    assert "200 times its size" in refusal(read_content, f"a.{kind}", bomb)


@pytest.mark.parametrize("kind", MADE)
def test_elements_nested_without_end_are_refused(read_content, kind):
    content = "<a>" * 50_000 + "</a>" * 50_000
    assert "nests its content too deep" in refusal(read_content, f"a.{kind}", replaced(MADE[kind], MAIN[kind], content))


def test_bombs(read_content):
    zeros = bytes(64 << 20)
    assert "200 times" in refusal(read_content, "a.zip", make_zip({"a.txt": zeros}))
    assert "200 times" in refusal(read_content, "a.zip", make_zip({"in.zip": make_zip({"a.txt": zeros}), "b.txt": "b"}))
    assert "200 times" in refusal(read_content, "a.tgz", make_tar({"a.txt": zeros}))
    assert "200 times" in refusal(read_content, "a.tar.bz2", make_tar({"a.png": zeros}, "w:bz2"))
    refusal(read_content, "a.tgz", gzip.compress(zeros))


def test_members_on_top_of_each_other_count_each_time(tmp_path):
    """A bomb of one stored block that many names share (Fifield 2019) has an honest ratio; the total stops it."""
    data = bytearray(make_zip({"a.txt": random.Random(0).randbytes(100_000).hex(), "b.txt": "b"}))
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        start = archive.start_dir
    entry = bytes(data[start : data.index(b"PK\x01\x02", start + 4)])
    directory = entry * 100
    end = bytearray(data[data.index(b"PK\x05\x06") :])
    end[8:12] = (100).to_bytes(2, "little") * 2
    end[12:16] = len(directory).to_bytes(4, "little")
    path = tmp_path / "a.zip"
    path.write_bytes(bytes(data[:start]) + directory + bytes(end))
    with pytest.raises(UnreadableFile, match="unpacks to more than 1 MB"):
        list(read(path, "a.zip", Limits(unpacked_bytes=1 << 20)))


def encrypted_zip(data):
    """The flag of encryption set on every member; no password opens what is not locked."""
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = data.find(signature)
        while at >= 0:
            data = data[: at + offset] + bytes([data[at + offset] | 1]) + data[at + offset + 1 :]
            at = data.find(signature, at + 4)
    return data


@pytest.mark.parametrize("kind", [*MADE, "zip"])
def test_encryption_is_named(read_content, kind):
    data = MADE.get(kind) or make_zip({"a.txt": "text"})
    assert "protected by a password" in refusal(read_content, f"a.{kind}", encrypted_zip(data))
    if kind not in ("zip", "epub"):
        assert "protected by a password" in refusal(
            read_content, f"a.{kind}", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(999)
        )


@pytest.mark.parametrize("suffix", SUPPORTED)
@pytest.mark.parametrize("content", [b"", b" \n", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(99)])
def test_blank_and_mislabelled_files_are_named(read_content, suffix, content):
    refusal(read_content, f"a{suffix}", content)


@pytest.mark.parametrize("kind", ["docx", "pptx", "xlsx", "epub", "zip", "parquet", "eml", "mbox"])
@pytest.mark.parametrize("content", ["Just text.", "\0\0\0\0"])
def test_text_under_the_name_of_something_else_is_named(read_content, kind, content):
    assert "suffix" in refusal(read_content, f"a.{kind}", content)


@pytest.mark.parametrize("kind", [*MADE, "zip", "tar"])
def test_a_pdf_under_any_name_is_read(read_content, build_pdf, kind):
    (document,) = read_content(f"a.{kind}", build_pdf([[(10.0, 700.0, "Words")]]))
    assert document.file_type == "pdf"


def test_every_truncation_is_read_or_refused(read_content, valid):
    for name, data in valid.items():
        for cut in range(0, len(data), max(1, len(data) // 12)):
            assert complaint(read_content, name, data[:cut]).endswith("."), name


@pytest.mark.parametrize("suffix", [".txt", ".md", ".html", ".csv", ".jsonl", ".json", ".py", ".eml"])
def test_a_gigabyte_without_a_line_end_is_not_taken_into_memory(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    with path.open("wb") as file:
        file.write(b"text " * 100_000 if suffix != ".json" else b"[")
        file.truncate(1 << 30)
    limits = Limits(document_chars=1_000_000, line_chars=1_000_000)
    tracemalloc.start()
    with pytest.raises(UnreadableFile):
        list(read(path, path.name, limits))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40 << 20


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.csv", 'id,text\n1,"' + "many words " * 1000 + '"\n', "Line 2 is longer than 5,000 characters"),
        ("a.csv", 'id,text\n1,"' + "many words\n" * 3000 + '"\n', "row at line 2 is longer than 20,000 characters"),
        ("a.jsonl", '{"text": "' + "x" * 6000 + '"}', "Line 1 is longer than 5,000"),
        ("a.json", '[{"text": "' + "字" * 21_000 + '"}]', "text is longer than 20,000 characters"),
        ("a.txt", "word " * 30_000, "larger than 78.1 KB"),
        ("a.pdf", None, "more than 1 pages"),
        ("a.pptx", make_pptx(), "more than 1 slides"),
        ("a.xlsx", make_xlsx(A=[["a"]], B=[["b"]]), "more than 1 sheets"),
        ("a.md", "x" * 300_000, "larger than 195 KB"),
    ],
)
def test_limits(tmp_path, build_pdf, name, content, reason):
    content = build_pdf([[(10.0, 700.0, "a")]] * 2) if content is None else content
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    limits = Limits(file_bytes=200_000, document_chars=20_000, line_chars=5_000, pages=1)
    with pytest.raises(UnreadableFile, match=reason):
        list(read(path, name, limits))


def test_nul_bytes_go(read_content):
    assert read_content("a.txt", b"some \0words " + b"more " * 30)[0].text.startswith("some words more")
    assert read_content("a.csv", "text\nsome \0words" + " more" * 30)[0].text.startswith("some words more")
