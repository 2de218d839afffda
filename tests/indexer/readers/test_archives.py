"""python -m pytest tests/indexer/readers/test_archives.py."""

import stat
import zipfile

import pytest
from reader_cases import ENGLISH, make_docx, make_tar, make_xlsx, make_zip

from indexer.readers import Limits, PartlyUnreadable, UnreadableFile, read

NOTES = f"# Notes\n\n{ENGLISH}".encode()
TABLE = b"id,text\n7,one\n8,two\n"
MEMBERS = {"a/notes.md": NOTES, "rows.csv": TABLE, "image.png": b"\x89PNG", ".hidden.md": NOTES, "__MACOSX/x.md": NOTES}


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.zip", make_zip(MEMBERS)),
        ("a.zip", make_zip(MEMBERS, zipfile.ZIP_LZMA)),
        ("a.tar", make_tar(MEMBERS, "w:")),
        ("a.tgz", make_tar(MEMBERS, "w:gz")),
        ("a.tar.bz2", make_tar(MEMBERS, "w:bz2")),
        ("a.tar.xz", make_tar(MEMBERS, "w:xz")),
    ],
)
def test_documents_of_an_archive(read_content, name, data):
    first, *rows = read_content(name, data)
    assert (first.uri, first.key, first.title, first.file_type) == (name, "a/notes.md", "Notes", "markdown")
    assert [(row.key, row.text, row.file_type) for row in rows] == [
        ("rows.csv#7", "one", "csv"),
        ("rows.csv#8", "two", "csv"),
    ]


def test_archives_in_archives(read_content):
    inner = make_tar({"deep.txt": NOTES, "rows.csv": TABLE})
    documents = read_content("a.zip", make_zip({"in.tar.gz": inner, "b.docx": make_docx()}))
    assert [document.key for document in documents] == [
        "in.tar.gz#deep.txt",
        "in.tar.gz#rows.csv#7",
        "in.tar.gz#rows.csv#8",
        "b.docx",
    ]
    assert {document.uri for document in documents} == {"a.zip"}


def test_archives_are_opened_only_so_deep(read_content):
    data = make_zip({"x.txt": NOTES})
    for _ in range(2):
        data = make_zip({"in.zip": data})
    assert [document.key for document in read_content("a.zip", data)] == ["in.zip#in.zip#x.txt"]
    with pytest.raises(UnreadableFile, match="more than 3 deep"):
        read_content("a.zip", make_zip({"in.zip": data}))


def test_an_office_document_named_zip_is_read_as_what_it_is(read_content):
    (document,) = read_content("a.zip", make_docx())
    assert (document.file_type, document.key) == ("docx", "")
    assert read_content("a.docx", make_xlsx(S=[["a", "b"], [1, 2]]))[0].file_type == "xlsx"


def test_chinese_names_from_windows(read_content):
    data = make_zip({"cm.txt": NOTES}).replace(b"cm.txt", "茶".encode("gb18030") + b".txt")
    assert read_content("a.zip", data)[0].key == "茶.txt"


def test_what_cannot_be_read_is_named_and_the_others_are_read(tmp_path):
    path = tmp_path / "a.zip"
    path.write_bytes(make_zip({"bad.pdf": b"no", "good.txt": NOTES, **{f"{n}.json": b"{" for n in range(5)}}))
    documents = read(path, "a.zip")
    assert next(documents).key == "good.txt"
    with pytest.raises(PartlyUnreadable, match=r"bad.pdf: The file is named .pdf but is not a PDF.*; and 3 more\)\."):
        next(documents)
    path.write_bytes(make_zip({"bad.pdf": b"no"}))
    with pytest.raises(UnreadableFile, match="could not be read") as caught:
        list(read(path, "a.zip"))
    assert not isinstance(caught.value, PartlyUnreadable)


OUTSIDE = ["../x.txt", "a/../../x.txt", "/etc/x.txt", "C:\\x.txt", "a\\..\\..\\x.txt", ".."]


@pytest.mark.parametrize("name", OUTSIDE)
@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_names_that_lead_out_of_the_archive_are_refused(read_content, tmp_path, make, name):
    with pytest.raises(UnreadableFile, match="names a file outside"):
        read_content("a.zip" if make is make_zip else "a.tar.gz", make({"good.txt": NOTES, name: NOTES}))


def test_links_in_archives_are_not_followed(read_content, tmp_path):
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")
    data = make_tar({"link.txt": str(secret), "good.txt": NOTES})
    assert [document.key for document in read_content("a.tar.gz", data)] == ["good.txt"]
    link = zipfile.ZipInfo("link.txt")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    data = make_zip({link: str(secret), "good.txt": NOTES})
    assert [document.key for document in read_content("a.zip", data)] == ["good.txt"]


def test_nothing_is_written_to_a_disk(read_content, monkeypatch, tmp_path):
    path = tmp_path / "a.zip"
    path.write_bytes(make_zip({"in.tar.gz": make_tar(MEMBERS), "b.docx": make_docx()}))
    opened = []
    original = open

    def spy(file, mode="r", *args, **kwargs):
        opened.append(mode)
        return original(file, mode, *args, **kwargs)

    monkeypatch.setattr("builtins.open", spy)
    monkeypatch.setattr("io.open", spy)
    assert list(read(path, "a.zip"))
    assert not any(set(mode) & set("wax+") for mode in opened)


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        (Limits(members=3), "more than 3 files"),
        (Limits(unpacked_bytes=1000), "unpacks to more than 1000 bytes"),
        (Limits(nesting=0), "more than 0 deep"),
    ],
)
@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_limits_of_archives(tmp_path, make, limits, reason):
    path = tmp_path / ("a.zip" if make is make_zip else "a.tar.gz")
    path.write_bytes(make({f"{n}.txt": NOTES * 10 for n in range(4)}))
    with pytest.raises(UnreadableFile, match=reason):
        list(read(path, path.name, limits))


def test_a_member_too_large_for_memory_is_named(tmp_path):
    path = tmp_path / "a.zip"
    path.write_bytes(make_zip({"large.txt": NOTES * 100, "small.txt": NOTES}))
    with pytest.raises(PartlyUnreadable, match="large.txt: The file is larger than 1 KB"):
        list(read(path, "a.zip", Limits(memory_bytes=4096)))


def test_limits_count_what_is_in_archives_within(tmp_path):
    path = tmp_path / "a.zip"
    path.write_bytes(make_zip({f"{n}.zip": make_zip({"x.txt": NOTES, "y.txt": NOTES}) for n in range(3)}))
    with pytest.raises(UnreadableFile, match="more than 8 files"):
        list(read(path, "a.zip", Limits(members=8)))
