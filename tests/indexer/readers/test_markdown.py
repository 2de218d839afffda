"""python -m pytest tests/indexer/readers/test_markdown.py."""

import pytest

from indexer.readers.markdown_inline import plain_inline


def one(documents):
    (document,) = documents
    return document


def body(read_content, text):
    return one(read_content("page.md", text)).text


def headings(document):
    return [section.headings for section in document.sections]


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("---\ntitle: Values Files\ndescription: x\n---\n# Other\n\ntext", "Values Files"),
        ('+++\ntitle = "From TOML"\n+++\ntext', "From TOML"),
        ("intro\n\n## Second\n\n# *First* `one`\n\ntext", "First one"),
        ("## Only a second\n\ntext", "Only a second"),
        ("just text", "page"),
        ("---\n\nno front matter: really\n\n---\n\ntext", "page"),
    ],
)
def test_titles(read_content, text, title):
    assert one(read_content("page.md", text)).title == title


def test_front_matter_is_metadata_and_not_text(read_content):
    text = "---\ntitle: T\ndescription: 'About it'\ntags:\n  - a\nhead: >-\n  folded\n---\n\nbody"
    document = one(read_content("page.md", text))
    assert document.text == "body"
    assert dict(document.metadata) == {"description": "About it"}


def test_headings_make_paths(read_content):
    text = "# A\n\na\n\n## B ##\n\nb\n\nC {#anchor}\n=\n\nc\n\nD\n--\nd\n\n####### seven\n\n#hashtag"
    document = one(read_content("page.md", text))
    assert headings(document) == [("A",), ("A", "B"), ("C {#anchor}",), ("C {#anchor}", "D")]
    assert document.text.endswith("d\n\n####### seven\n\n#hashtag")


def test_heading_ids_go(read_content):
    assert headings(one(read_content("page.md", "## Usage {#usage}\n\ntext"))) == [("Usage",)]


@pytest.mark.parametrize(
    "code",
    [
        "```yaml\n# comment\nkey: value\n\n## more\n```",
        "~~~\n# comment\nkey: value\n\n## more\n~~~",
        "````\n# comment\nkey: value\n\n## more\n````",
        "```\n# comment\nkey: value\n\n## more",
        "> ```\n> # comment\n> key: value\n>\n> ## more\n> ```",
    ],
)
def test_code_is_kept_and_has_no_headings(read_content, code):
    document = one(read_content("page.md", f"# Title\n\n{code}\n"))
    assert headings(document) == [("Title",)]
    assert document.text == "Title\n\n# comment\nkey: value\n\n## more"


def test_code_in_a_list_loses_the_indentation_of_its_fence(read_content):
    text = "1. Run\n\n   ```bash\n   # as root\n     ls\n   ```\n\n2. Done"
    assert body(read_content, text) == "1. Run\n\n# as root\n  ls\n\n2. Done"


def test_indented_code_keeps_its_lines(read_content):
    assert body(read_content, "Text:\n\n    # a\n    b_c_d\n\nMore") == "Text:\n\n    # a\n    b_c_d\n\nMore"


def test_shorter_fences_do_not_close_longer_ones(read_content):
    assert body(read_content, "````\n```\n# in\n```\n````\n\nout") == "```\n# in\n```\n\nout"


def test_wrapped_lines_are_one_paragraph(read_content):
    text = "Two\nlines.\nBreak  \nhere\\\nand here.\n\n一行中\n文。\n\n* item\n  goes on\n* next"
    assert body(read_content, text) == "Two lines. Break\nhere\nand here.\n\n一行中文。\n\n- item goes on\n- next"


def test_tables_are_rows(read_content):
    text = "| a | **b** |\n|---|:-:|\n| `x|y` | 2 \\| 3 |\n\n---\n"
    assert body(read_content, "| a | **b** |\n|---|:-:|\n| x | 2 \\| 3 |\n\n---\n") == "a | b\nx | 2 | 3"
    assert "---" not in body(read_content, text)


def test_html_comments_go_but_an_open_one_stays(read_content):
    assert (
        body(read_content, "a <!-- b --> c\n\n<!--\n# no\n-->\n\nd\n\n```\n<!-- code -->\n```")
        == "a c\n\nd\n\n<!-- code -->"
    )
    assert body(read_content, "a <!-- b\n\nc") == "a <!-- b\n\nc"


def test_what_only_a_site_generator_reads_goes(read_content):
    lines = ['import Tabs from "@theme/Tabs"', "<Tabs>", ":::tip Good to *know*", "text", ":::", ":::note\nx\n:::"]
    text = "\n\n".join([*lines, "{{< youtube id >}}", "</Tabs>"])
    assert body(read_content, text) == "Good to know\n\ntext\n\nNote\nx"


def test_quotes_and_definitions(read_content):
    text = "> [!NOTE]\n> # Quoted\n> text\n\n[ref]: https://example.org\n\nSee [it][ref] and [^1].\n\n[^1]: A note."
    assert body(read_content, text) == "Note Quoted text\n\nSee it and .\n\nA note."


@pytest.mark.parametrize(
    ("marked", "plain"),
    [
        ("**bold** *it* __bold__ _it_ ~~no~~ ***both***", "bold it bold it no both"),
        ("**粗体**文字和*斜体*。", "粗体文字和斜体。"),
        ("snake_case_name and 2 * 3 * 4 and *.yaml, *.json", "snake_case_name and 2 * 3 * 4 and *.yaml, *.json"),
        ("[link](https://a.b/c_(d) 'title') ![alt](x.png)", "link alt"),
        ("[a [nested] label](<url with space>)", "a [nested] label"),
        ("[![badge](a.svg)](https://x) text", "text"),
        ("`code *not* _marks_ [x](y)` and ``a ` b``", "code *not* _marks_ [x](y) and a ` b"),
        ("<https://example.org> <b>x</b><br>y List<String> <name>", "https://example.org x\ny List<String> <name>"),
        (r"1\. \*not\* \[x\](y) \# C:\dir", r"1. *not* [x](y) # C:\dir"),
        ("a &lt; b&nbsp;&amp; c", "a < b & c"),
        ("array[0][1] and [x] and arr[i](j", "array[0][1] and [x] and arr[i](j"),
        ("**bold with *it* inside**", "bold with it inside"),
        ("** not bold ** `open", "** not bold ** `open"),
    ],
)
def test_inline_marks(marked, plain):
    assert plain_inline(marked) == plain


@pytest.mark.parametrize("piece", ["*a ", "_a ", "[a", "[x](", "` `` ", "<a ", "!["])
def test_hostile_paragraphs_take_no_quadratic_time(piece):
    assert plain_inline(piece * 20_000).startswith(piece.strip()[:1])
