"""python -m pytest tests/indexer/readers/test_decoding.py."""

import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indexer.readers import UnreadableFile
from indexer.readers.decoding import clean, decode, detect_encoding, open_text
from indexer.readers.source import file_source

ENGLISH = "It’s a naïve café — “quoted” text, that’s all."
CHINESE = "今天天气很好，我们去公园玩。\n学习语言需要时间。"
TAIWANESE = "今天天氣很好，我們去公園玩。\n學習語言需要時間。"
MIXED = "Debian 系统 is a 操作系统.\nhello world\n"


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        *(
            (text, encoding)
            for text in (ENGLISH, CHINESE, MIXED)
            for encoding in ("utf-8", "utf-8-sig", "utf-16", "utf-32")
        ),
        *((text, encoding) for text in (ENGLISH, CHINESE, MIXED, "中文") for encoding in ("utf-16-le", "utf-16-be")),
        *((text, "gb18030") for text in (CHINESE, TAIWANESE, MIXED, "中文")),
        (TAIWANESE, "big5"),
        (ENGLISH, "cp1252"),
        ("L'été dernier, les élèves étaient à Orléans.", "latin-1"),
        ("Привет, это проверка кодировки текста.", "cp1251"),
    ],
)
def test_encodings_are_told_apart(text, encoding):
    assert decode(text.encode(encoding)) == text


def test_the_mark_of_gb18030_is_known():
    assert decode(("\ufeff" + CHINESE).encode("gb18030")) == CHINESE


def test_a_declared_encoding_is_believed_where_the_bytes_agree():
    text = "Zażółć gęślą jaźń"
    assert decode(text.encode("iso8859-2"), "iso-8859-2") == text
    assert decode(CHINESE.encode("gb18030"), "gb2312") == CHINESE


@pytest.mark.parametrize(
    "declared", ["big5", "base64", "unicode_escape", "punycode", "no-such-thing", "utf-8", "undefined", "\udc80"]
)
def test_a_wrong_declaration_does_no_harm(declared):
    assert decode(CHINESE.encode("gb18030"), declared) == CHINESE
    assert decode(CHINESE.encode("utf-8"), declared) == CHINESE


def test_a_few_damaged_bytes_do_not_change_the_encoding():
    data = bytearray((CHINESE * 20).encode("utf-8"))
    data[100] = 0xFF
    assert decode(bytes(data)).count("天") >= 38


def test_english_with_a_damaged_byte_is_read():
    assert decode(b"plain words " * 50 + b"\x81\xfe\x8d " + b"plain words " * 50).count("plain") == 100


@pytest.mark.parametrize("data", [b"", b" \r\n\t", b"\xef\xbb\xbf", "\ufeff \n".encode("utf-16"), b"\x0c\n"])
def test_blank_files_are_named(data):
    with pytest.raises(UnreadableFile, match="is empty"):
        decode(data)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (bytes(range(256)) * 4, "binary"),
        (b"\x7fELF\x02\x01\x01" + b"\0" * 60, "binary"),
        (b"PK\x03\x04....", "ZIP archive or an Office document"),
        (b"%PDF-1.4", "a PDF"),
        (b"{\\rtf1 text}", "an RTF document"),
        (b"\x89PNG\r\n\x1a\n", "an image"),
    ],
)
def test_binary_files_are_named(data, reason):
    with pytest.raises(UnreadableFile, match=reason):
        decode(data)


def test_line_ends_are_one_sign():
    assert decode(b"a\r\nb\rc\nd\x0be\xe2\x80\xa8f") == "a\nb\nc\nd\ne\nf"


def test_what_nobody_sees_goes_and_nothing_is_normalised():
    assert clean("so\u00adft\u200b \ud800e\u0301\0") == "soft e\u0301"


@settings(deadline=None)
@given(st.text(st.characters()))
def test_clean_text_stays_clean(text):
    cleaned = clean(text)
    assert clean(cleaned) == cleaned
    assert not set(cleaned) & {"\0", "\r", "\ufeff"}
    cleaned.encode("utf-8")


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_decoded_or_refused(data):
    try:
        assert decode(data).strip()
    except UnreadableFile:
        return


@pytest.mark.parametrize("encoding", ["utf-8", "gb18030"])
def test_large_files_are_told_by_what_comes_late(tmp_path, encoding):
    text = "plain line\n" * 200_000 + CHINESE
    path = tmp_path / "large.txt"
    path.write_bytes(text.encode(encoding))
    with open_text(file_source(path, "large.txt")) as file:
        assert file.read() == text


def test_a_character_cut_off_at_the_end_is_no_change_of_encoding():
    assert detect_encoding(io.BytesIO((CHINESE * 3).encode("utf-8")[:-1])) == "utf-8"
