"""python -m pytest tests/indexer/readers/test_html.py."""

import pytest

from indexer.readers import UnreadableFile

PAGE = """<!DOCTYPE html>
<html lang="en"><head><title>Green Tea | The Notebook</title><style>p {color: red}</style></head>
<body>
<header><p>The Notebook</p><nav><a href="/">Home</a> <a href="/food">Food</a></nav></header>
<div class="sidebar"><ul><li><a href="/1">One</a></li><li><a href="/2">Two</a></li></ul></div>
<main>
<h1>Green Tea<a class="headerlink" href="#tea">¶</a></h1>
<p>Leaves are <b>steamed</b>
   at once.<script>alert("no")</script></p>
<h2>Steps</h2>
<ol><li>Pick</li><li>Steam<ul><li>briefly</li></ul></li></ol>
<h2>Grades</h2>
<table><tr><th>Grade</th><th>Price</th></tr><tr><td>Sencha</td><td><p>low</p></td></tr></table>
<pre><code>def brew():
    return "tea"
</code></pre>
</main>
<footer><p>Copyright</p></footer>
</body></html>"""


def one(documents):
    (document,) = documents
    return document


def text_of(read_content, body):
    return one(read_content("page.html", f"<html><body>{body}</body></html>")).text


def test_a_page_becomes_its_content(read_content):
    document = one(read_content("tea.html", PAGE))
    assert document.title == "Green Tea"
    assert document.text == (
        "Green Tea\n\nLeaves are steamed at once.\n\n"
        "Steps\n\n1. Pick\n2. Steam\n  - briefly\n\n"
        "Grades\n\nGrade | Price\nSencha | low\n\n"
        'def brew():\n    return "tea"'
    )
    assert [section.headings for section in document.sections] == [
        ("Green Tea",),
        ("Green Tea", "Steps"),
        ("Green Tea", "Grades"),
    ]


def test_furniture_goes_without_a_main_element_too(read_content):
    document = one(read_content("tea.htm", PAGE.replace("main>", "div>")))
    for word in ("Notebook", "Home", "Copyright", "alert", "color", "¶", "One"):
        assert word not in document.text
    assert document.text.startswith("Green Tea\n\nLeaves")


@pytest.mark.parametrize(
    ("page", "title"),
    [
        ("<title>T</title><h1>H</h1><p>x</p>", "H"),
        ("<title> T\n U </title><h2>H</h2><p>x</p>", "T U"),
        ("<h2>H</h2><p>x</p>", "H"),
        ("<p>x</p>", "page"),
        ("<title>T</title><svg><title>Icon</title></svg><p>x</p>", "T"),
    ],
)
def test_titles(read_content, page, title):
    assert one(read_content("page.html", page)).title == title


@pytest.mark.parametrize(
    "furniture",
    [
        '<div class="navbar">x</div>',
        '<div id="page-footer">x</div>',
        '<ul class="breadcrumb"><li>x</li></ul>',
        '<div role="navigation">x</div>',
        '<div class="article-tags"><a href="/t">x</a></div>',
        '<p style="display: none">x</p>',
        "<p hidden>x</p>",
        "<aside>x</aside>",
        "<noscript>x</noscript>",
        '<div class="toc"><h2>x</h2></div>',
        '<a class="skip-link" href="#main">x</a>',
    ],
)
def test_furniture(read_content, furniture):
    assert text_of(read_content, f"{furniture}<p>Text.</p>{furniture}") == "Text."


@pytest.mark.parametrize(
    "content",
    [
        '<div class="menu"><p>Soup, then fish with potatoes.</p></div>',
        '<div class="has-sidebar"><p>Text.</p></div>',
        '<section id="footer"><h2>About footers</h2><p>Text.</p></section>',
        '<div class="sidebar"><main><p>Text.</p></main></div>',
        "<article><header><p>By a person.</p></header><aside>Aside.</aside><p>Text.</p></article>",
        '<div class="related">No links in this text.</div>',
    ],
)
def test_content_with_the_name_of_furniture_stays(read_content, content):
    document = one(read_content("page.html", f"<body><p>Before.</p>{content}</body>"))
    assert any(word in document.text for word in ("Soup", "Text.", "No links"))


def test_a_page_that_looks_like_furniture_through_and_through_is_read_whole(read_content):
    assert text_of(read_content, '<div class="navbar">All there is.<script>no</script></div>') == "All there is."


def test_a_main_element_with_next_to_nothing_in_it_is_passed_over(read_content):
    assert "Text" in text_of(read_content, f"<main><p>Hi</p></main><div><p>{'Text. ' * 50}</p></div>")


def test_several_articles_are_all_read(read_content):
    text = text_of(read_content, "<article><p>One.</p></article><article><p>Two.</p></article>")
    assert text == "One.\n\nTwo."


def test_line_breaks_and_chinese_line_ends(read_content):
    assert (
        text_of(read_content, "<p>第一行\n  第二行 Debian\n 系统<br>新行&nbsp;x</p>")
        == "第一行第二行 Debian 系统\n新行 x"
    )


def test_definitions_and_paragraphs_in_items(read_content):
    body = "<dl><dt>Term</dt><dd>Meaning.</dd><dt>Other</dt><dd>Too.</dd></dl><ul><li><p>a</p><p>b</p></li></ul>"
    assert text_of(read_content, body) == "Term\nMeaning.\n\nOther\nToo.\n\n- a\n  b"


def test_a_table_that_lays_out_the_page_is_no_table(read_content):
    body = "<table><tr><td><h2>Head</h2><p>One.</p></td><td><p>Two.</p></td></tr></table>"
    assert text_of(read_content, body) == "Head\n\nOne.\n\nTwo."


def test_xhtml_with_empty_anchors(read_content):
    page = (
        '<?xml version="1.0" encoding="UTF-8"?><html xmlns="http://www.w3.org/1999/xhtml"><body>'
        '<h1><a id="x"/>Title</h1><script src="x"/><p>Text.</p></body></html>'
    )
    assert one(read_content("page.html", page)).text == "Title\n\nText."


@pytest.mark.parametrize(
    ("encoding", "declared"),
    [("gb18030", "gb2312"), ("big5", "big5"), ("utf-8", "gb2312"), ("utf-16", ""), ("gb18030", "")],
)
def test_declared_and_undeclared_encodings(read_content, encoding, declared):
    meta = f'<meta http-equiv="Content-Type" content="text/html; charset={declared}">' if declared else ""
    page = f"<html><head>{meta}<title>天氣</title></head><body><p>今天的天氣很好，我們去公園。</p></body></html>"
    document = one(read_content("page.html", page.encode(encoding)))
    assert document.title == "天氣"
    assert document.text == "今天的天氣很好，我們去公園。"


def test_control_characters_from_entities_go(read_content):
    assert text_of(read_content, "<p>a&#0;b&#xD800;c&#1;d&#173;e</p>").replace("\ufffd", "") == "abcde"


@pytest.mark.parametrize(
    "page", ["<div>" * 5000 + "deep", "<p>unclosed <b>tags", "plain text", "<<<>>> text &nope;", "</html>text"]
)
def test_broken_pages_are_read(read_content, page):
    assert one(read_content("page.html", page)).text


@pytest.mark.parametrize(
    ("page", "reason"),
    [
        (b"", "empty"),
        (b"<html><body></body></html>", "no text"),
        (b"<script>let x = 1</script>", "no text"),
        (b"\0\1\2\3" * 50, "binary"),
    ],
)
def test_pages_without_text_are_named(read_content, page, reason):
    with pytest.raises(UnreadableFile, match=reason):
        read_content("page.html", page)
