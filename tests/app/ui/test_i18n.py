import re
from datetime import UTC, datetime
from pathlib import Path
from string import Formatter

import pytest

import app.ui
from app.services.exports import Format
from app.ui.i18n import LANGUAGES, Translator, browser_language, catalogue
from indexer.search import Mode

SOURCES = "".join(path.read_text(encoding="utf-8") for path in Path(app.ui.__path__[0]).rglob("*.py"))


def placeholders(wording: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(wording) if name}


def test_both_languages_have_the_same_keys_and_placeholders():
    english, chinese = catalogue("en"), catalogue("zh")
    assert english.keys() == chinese.keys()
    assert {key: placeholders(text) for key, text in english.items()} == {
        key: placeholders(text) for key, text in chinese.items()
    }


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_wording_is_empty_or_padded(language):
    assert all(text and text == text.strip() for text in catalogue(language).values())


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_key_in_the_code_has_wording(language):
    used = set(re.findall(r"""\bt\(\s*["']([a-z_.]+)["']""", SOURCES))
    counted = set(re.findall(r"""t\.count\(\s*["']([a-z_.]+)["']""", SOURCES))
    assert used
    assert counted
    assert used <= catalogue(language).keys()
    assert {f"{key}.{form}" for key in counted for form in ("one", "other")} <= catalogue(language).keys()


def test_what_the_search_page_names_by_value_has_wording():
    keys = {f"export.{form}" for form in Format} | {f"filter.{key}" for key in ("map", "classifier", "after", "before")}
    keys |= {f"example.{name}{tail}" for name in ("like", "unlike") for tail in ("", ".help")}
    assert keys <= catalogue("en").keys()


def test_every_mode_is_explained():
    keys = {f"{stem}.{mode}{tail}" for mode in Mode for stem in ("mode", "score") for tail in ("", ".help")}
    assert keys <= catalogue("en").keys()


@pytest.mark.parametrize(
    ("locale", "language"),
    [("zh-CN", "zh"), ("zh-Hant-TW", "zh"), ("zh", "zh"), ("ZH_cn", "zh"), ("en-GB", "en"), ("fr", "en"), (None, "en")],
)
def test_the_browser_chooses_the_language(locale, language):
    assert browser_language(locale) == language


def test_numbers_times_and_dates():
    english, chinese = Translator("en"), Translator("zh")
    day = datetime(2026, 3, 5, tzinfo=UTC)
    assert english.number(1234567) == chinese.number(1234567) == "1,234,567"
    assert (english.seconds(0.0379), chinese.seconds(0.0379)) == ("38 ms", "38 毫秒")
    assert (english.seconds(1.24), chinese.seconds(1.24)) == ("1.2 s", "1.2 秒")
    assert english.seconds(0.0) == "1 ms"
    assert english.seconds(0.9999) == "1.0 s"
    assert (english.date(day), chinese.date(day)) == ("5 March 2026", "2026年3月5日")


def test_one_and_many():
    t = Translator("en")
    assert [t.count("status.results", n) for n in (0, 1, 2, 1000)] == [
        "0 results",
        "1 result",
        "2 results",
        "1,000 results",
    ]


def test_languages_of_documents_by_their_own_names():
    t = Translator("zh")
    assert [t.document_language(code) for code in ("en", "zh", "ja", "zh-tw", "xx", "")] == [
        "English",
        "中文",
        "日本語",
        "中文",
        "xx",
        "语言未知",
    ]


def test_file_types_by_their_names():
    assert [Translator("en").file_type(name) for name in ("markdown", "text", "docx")] == ["Markdown", "Text", "DOCX"]
    assert [Translator("zh").file_type(name) for name in ("code", "email", "mbox")] == ["代码", "电子邮件", "邮箱文件"]


def test_a_corpus_has_one_name_in_chinese():
    assert not [key for key, text in catalogue("zh").items() if "语料" in text]


def test_braces_in_values_are_not_placeholders():
    assert "{n}" in Translator("en")("unbuilt.title", name="{n}")
