"""Which column of a table is the text, which the title, which the id."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

Row = Mapping[str, str]
"""Column name to cleaned value; empty where the row has none."""

_QUESTIONS = ("question", "query", "问题", "提问", "問題")
_ANSWERS = ("answer", "response", "答案", "回答", "回复")
_TEXTS = (
    "text", "content", "contents", "body", "answer", "passage", "description", "article", "abstract",
    "正文", "内容", "文本", "內容", "回答", "答案", "描述", "摘要",
)  # fmt: skip
_TITLES = (
    "title", "name", "question", "headline", "subject",
    "标题", "標題", "题目", "名称", "名稱", "问题",
)  # fmt: skip
_KEYS = ("id", "_id", "key", "slug", "uuid", "doc_id", "docid", "编号", "編號")


@dataclass(frozen=True, slots=True)
class Columns:
    """Names of the columns that a document is made of.

    Attributes:
        text: The column that is searched.
        title: Empty where the title is the beginning of the text.
        key: Empty where rows are known by their number.
        is_question: Whether the title asks what the text answers; it is then no text on its own.
    """

    text: str
    title: str = ""
    key: str = ""
    is_question: bool = False


def choose_columns(sample: Sequence[Row]) -> Columns | None:
    """Choose by name, where names do not tell by the longest text; None where no row has any text."""
    names = list(dict.fromkeys(name for row in sample for name in row))
    key = _named(_KEYS, names)
    question, answer = _named(_QUESTIONS, names), _named(_ANSWERS, names)
    if question and answer:
        return Columns(answer, question, key, is_question=True)
    title = _named(_TITLES, names)
    text = _named(_TEXTS, [name for name in names if name != title])
    text = text or _longest([name for name in names if name not in (title, key)], sample) or title or key
    if not text or not any(row.get(text) or row.get(title) for row in sample):
        return None
    return Columns(text, "" if title == text else title, key)


def names_a_text(names: Sequence[str]) -> bool:
    """Whether one of the columns is named as a text is: the rows are then documents, and not figures."""
    return bool(_named(_TEXTS, names))


def _named(wanted: Iterable[str], names: Iterable[str]) -> str:
    """The column that has the first of the wanted names that any column has; empty where none has."""
    by_name = {name.strip().lower(): name for name in reversed(list(names))}
    return next((by_name[name] for name in wanted if name in by_name), "")


def _longest(names: Iterable[str], sample: Sequence[Row]) -> str:
    lengths = {name: sum(len(row.get(name, "")) for row in sample) for name in names}
    longest = max(lengths, key=lengths.__getitem__, default="")
    return longest if lengths.get(longest) else ""
