import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.ui.i18n import Translator
from app.ui.markup import as_label, as_option, notice, plain

EN = Translator("en")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("<script>alert('x')</script>", "&lt;script&gt;alert(&#x27;x&#x27;)&lt;/script&gt;"),
        ('" onmouseover="x', "&quot; onmouseover=&quot;x"),
        ("**b** $x$ [a](b) :smile:", "**b** $x$ [a](b) :smile:"),
        ("&lt;b&gt;", "&amp;lt;b&amp;gt;"),
        ("a\u202egnp.exe\u202c", "agnp.exe"),
        ("\u2066a\u2069", "a"),
        ("a\x00b\x1bc\x85d", "a b c d"),
        ("a\ud800b", "a\ufffdb"),
        ("line\nline\ttab", "line\nline\ttab"),
        ("👩‍🚀 é", "👩‍🚀 é"),
    ],
)
def test_text_from_documents_stays_plain(text, shown):
    assert plain(text) == shown


@given(st.text(st.characters()))
def test_plain_text_can_be_sent_and_holds_no_markup(text):
    shown = plain(text)
    shown.encode()
    assert not set("<>\"'") & set(shown)


def test_a_notice_escapes_what_it_says():
    source = notice(EN, "<i>", "a < b", alert=True)
    assert "&lt;i&gt;" in source
    assert "a &lt; b" in source
    assert 'role="alert"' in source


def test_labels_show_markdown_letter_for_letter():
    assert as_label("**a** $b$ :c: <d>") == r"\*\*a\*\* \$b\$ \:c\: \<d\>"


def test_options_are_no_markdown_and_reorder_nothing():
    assert as_option("my-classifier_1 **a** <d>\u202e\ud800") == "my-classifier_1 **a** <d>\ufffd"
