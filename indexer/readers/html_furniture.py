"""What of an HTML page is not its content: menus, side bars, footers, scripts."""

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from selectolax.lexbor import LexborNode

NO_TEXT_TAGS = frozenset(
    "script style noscript template head iframe object embed svg canvas math audio video select textarea button"
    " map".split()
)
_FURNITURE_TAGS = NO_TEXT_TAGS | {"nav", "footer", "menu", "dialog"}
_ROLES = frozenset("navigation banner contentinfo search complementary dialog alertdialog menu menubar toolbar".split())
# Never furniture by their class: themes put words like "has-sidebar" on them.
_FRAMES = frozenset("html body main article h1 h2 h3 h4 h5 h6 pre code table tbody tr td".split())
_HOLDS_CONTENT = "main, article, h1"

_ALWAYS = re.compile(
    r"(?:site|page|main|global|top|bottom|left|right|wiki|sphinx|doc|docs|theme|wy|md|bd|vp|book)?[-_]{0,2}"
    r"(?:nav|navbar|navigation|navheader|navfooter|navigator|nav[-_]?menu|breadcrumbs?|crumbs?|sidebar|side[-_]?nav|sphinxsidebar"
    r"|footer|toc|table[-_]of[-_]contents|pagination|pager|prev[-_]next|skip[-_]?(?:link|nav|to[-_]content)|cookie[-_]?(?:banner|"
    r"notice|consent|bar)|newsletter|subscribe|social|share[-_]?(?:bar|buttons?|links?)?|advert(?:isement)?|ads?|related[-_]posts?"
    r"|headerlink|hash[-_]link|anchor[-_]?link|heading[-_]anchor|sr[-_]only|visually[-_]hidden|mw[-_]editsection|mw[-_]jump[-_]link"
    r"|linenos?|line[-_]numbers|edit[-_](?:page|link|this[-_]page)|rst[-_]versions|searchbox|search[-_]?(?:box|form|bar))"
    r"[-_]{0,2}(?:wrap(?:per)?|container|inner|list|links?|menu|area|section|primary|secondary|desktop|mobile)?",
)
_OFTEN = re.compile(
    r"(?:[\w-]*[-_])?(?:menu|links|related|tags?|header|topbar|banner|comments?|meta|lang|languages?|recommend\w*)(?:[-_][\w-]*)?"
)
_MAX_NAMES_CHARS = 500
_MAX_LINK_SHARE = 0.5
_PERMALINKS = frozenset(("\u00b6", "#", "\u00a7", "\U0001f517", "[edit]", "edit"))


def is_furniture(node: "LexborNode") -> bool:
    """Whether an element, with all it holds, is no part of what the page says."""
    tag = node.tag or ""
    if tag in _FURNITURE_TAGS:
        return True
    if tag in ("header", "aside"):
        return not _is_within_content(node) and node.css_first("h1") is None
    attributes = node.attributes
    if not attributes or tag in _FRAMES:
        return False
    if "hidden" in attributes or attributes.get("role") in _ROLES:
        return True
    if attributes.get("aria-hidden") == "true" or "display:none" in (attributes.get("style") or "").replace(" ", ""):
        return True
    if tag == "a" and (attributes.get("href") or "").startswith("#") and node.text().strip().lower() in _PERMALINKS:
        return True
    names = f"{attributes.get('class') or ''} {attributes.get('id') or ''}".lower()[:_MAX_NAMES_CHARS].split()
    if not names or tag == "section" or "section" in names:
        return False  # the id of a section is its heading, and one may well be about footers
    if any(_ALWAYS.fullmatch(name) for name in names):
        return node.css_first(_HOLDS_CONTENT) is None
    if any(_OFTEN.fullmatch(name) for name in names):
        return _link_share(node) > _MAX_LINK_SHARE and node.css_first(_HOLDS_CONTENT) is None
    return False


def _is_within_content(node: "LexborNode") -> bool:
    parent = node.parent
    while parent is not None:
        if parent.tag in ("main", "article"):
            return True
        parent = parent.parent
    return False


def _link_share(node: "LexborNode") -> float:
    """Share of an element's text that is in links."""
    length = len("".join((node.text() or "").split()))
    in_links = sum(len("".join((link.text() or "").split())) for link in node.css("a[href]"))
    return in_links / length if length else 0.0
