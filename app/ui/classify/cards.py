"""Fixed pieces of the page as HTML strings. Pure functions; everything variable is escaped."""

from collections.abc import Sequence

from app.services.classify.classifiers import Classifier
from app.services.classify.desk import Training
from app.services.classify.figures import Figures
from app.services.classify.predictions import Prediction
from app.services.classify.tables import Labelled, Problem, Table
from app.services.classify.training import Method
from app.ui.i18n import Translator
from app.ui.markup import lang_attribute, plain

_SHOWN_CHARACTERS = 400
_SHOWN_SCORES = 5
_SHOWN_PROBLEMS = 50
_SHOWN_COUNTS = 30
_DELIMITERS = {",": "classify.comma", ";": "classify.semicolon", "\t": "classify.tab", "|": "classify.bar"}


def percent(share: float | None) -> str:
    """A share as a percentage with one digit; a dash where there is none."""
    return "–" if share is None else f"{100 * share:.1f}%"


def short(text: str) -> str:
    """A text of bearable length."""
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS].rstrip() + "…"


def hint(text: str, t: Translator) -> str:
    """A quiet line."""
    return f'<p class="kalm-hint"{lang_attribute(t.language)}>{plain(text)}</p>'


def heading(text: str, t: Translator, more: str = "") -> str:
    """What a part of the page is about, and how to read it."""
    below = f"<p>{plain(more)}</p>" if more else ""
    return f'<section class="kalm-part"{lang_attribute(t.language)}><h2>{plain(text)}</h2>{below}</section>'


def predicted(texts: Sequence[str], predictions: Sequence[Prediction], t: Translator) -> str:
    """Texts with their labels, and behind a line what else came into question."""
    rows = "".join(_predicted(text, one, t) for text, one in zip(texts, predictions, strict=True))
    return f'<ol class="kalm-predictions"{lang_attribute(t.language)}>{rows}</ol>'


def texts_of(pairs: Sequence[tuple[str, str]], t: Translator) -> str:
    """Texts with a remark on each."""
    rows = "".join(
        f'<li><p class="kalm-text" dir="auto">{plain(short(text))}</p><p class="kalm-hint">{plain(remark)}</p></li>'
        for text, remark in pairs
    )
    return f'<ol class="kalm-predictions"{lang_attribute(t.language)}>{rows}</ol>'


def table_summary(table: Table, found: Labelled, t: Translator) -> str:
    """What a table gives to learn from."""
    counts: dict[str, int] = {}
    for example in found.examples:
        counts[example.label] = counts.get(example.label, 0) + 1
    ordered = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    badges = "".join(
        f'<span class="kalm-badge"><bdi>{plain(label)}</bdi> {t.number(count)}</span>'
        for label, count in ordered[:_SHOWN_COUNTS]
    )
    if len(ordered) > _SHOWN_COUNTS:
        badges += f"<span>{plain(t.count('classify.more', len(ordered) - _SHOWN_COUNTS))}</span>"
    facts = t(
        "classify.table.facts",
        examples=t.count("classify.examples", len(found.examples)),
        labels=t.count("classify.labels", len(counts)),
        encoding=table.encoding.upper(),
        delimiter=t(_DELIMITERS.get(table.delimiter, "classify.other")),
    )
    return (
        f'<section class="kalm-part"{lang_attribute(t.language)}><p>{plain(facts)}</p>'
        f'<div class="kalm-meta">{badges}</div></section>{problems(found.problems, t)}'
    )


def problems(found: Sequence[Problem], t: Translator) -> str:
    """Rows that cannot be used as they are, one sentence each."""
    if not found:
        return ""
    lines = "".join(
        f"<li>{plain(t(f'classify.problem.{one.trouble}', row=t.number(one.row), other=t.number(one.other)))}</li>"
        for one in found[:_SHOWN_PROBLEMS]
    )
    if len(found) > _SHOWN_PROBLEMS:
        lines += f"<li>{plain(t.count('classify.more', len(found) - _SHOWN_PROBLEMS))}</li>"
    return (
        f'<details class="kalm-problems"{lang_attribute(t.language)}>'
        f"<summary>{plain(t.count('classify.problems', len(found)))}</summary><ul>{lines}</ul></details>"
    )


def worth(judged: Figures, training: Training, t: Translator) -> str:
    """The figures that matter, and how they came about."""
    low, high = judged.interval
    groups = len(set(training.groups.tolist()))
    facts = [
        (
            t("classify.accuracy"),
            percent(judged.accuracy),
            t("classify.interval", low=percent(low), high=percent(high)),
        ),
        (t("classify.f1"), percent(judged.macro_f1), t("classify.f1.help")),
        (t("classify.coverage"), percent(judged.coverage), t("classify.coverage.help")),
        (t("classify.chance"), percent(judged.chance), t("classify.chance.help")),
        (t("classify.calibration"), percent(judged.calibration_error), t("classify.calibration.help")),
    ]
    how = t(
        f"classify.method.{training.trained.method}.how",
        examples=t.count("classify.examples", len(training.targets)),
        folds=t.number(int(training.trained.folds.max()) + 1),
        alike=t.number(len(training.targets) - groups),
    )
    return _facts(facts, t) + hint(how, t)


def about(classifier: Classifier, t: Translator) -> str:
    """A classifier that is kept."""
    facts = [
        (t("classify.method"), t(f"classify.method.{classifier.method}"), ""),
        (t("classify.version"), str(classifier.version), t.date(classifier.created) if classifier.created else ""),
        (t("classify.labels.title"), t.number(len(classifier.labels)), ""),
        (t("classify.threshold.short"), percent(classifier.threshold), ""),
    ]
    if classifier.method is not Method.DESCRIBED:
        facts.insert(
            1, (t("classify.accuracy"), percent(classifier.accuracy), t.count("classify.examples", classifier.examples))
        )
    names = "".join(
        f'<span class="kalm-badge"><bdi>{plain(one.name)}</bdi></span>' for one in classifier.labels[:_SHOWN_COUNTS]
    )
    return f'{_facts(facts, t)}<div class="kalm-meta">{names}</div>'


def counts(found: Sequence[tuple[str, int]], t: Translator) -> str:
    """How many documents each label was given to."""
    badges = "".join(
        f'<span class="kalm-badge"><bdi>{plain(label)}</bdi> {t.number(count)}</span>' for label, count in found
    )
    return f'<div class="kalm-meta"{lang_attribute(t.language)}>{badges}</div>'


def _facts(facts: Sequence[tuple[str, str, str]], t: Translator) -> str:
    items = "".join(
        f"<div><dt>{plain(name)}</dt><dd>{plain(value)}{f'<small>{plain(more)}</small>' if more else ''}</dd></div>"
        for name, value, more in facts
    )
    return f'<dl class="kalm-facts kalm-figures"{lang_attribute(t.language)}>{items}</dl>'


def _predicted(text: str, one: Prediction, t: Translator) -> str:
    given = plain(one.label) if one.label is not None else plain(t("classify.abstained"))
    tone = " kalm-none" if one.label is None else ""
    bars = "".join(
        f'<li><span><bdi>{plain(score.label)}</bdi></span><meter min="0" max="1" value="{score.score:.4f}"></meter>'
        f"<span>{percent(score.score)}</span></li>"
        for score in one.scores[:_SHOWN_SCORES]
    )
    margin = plain(t("classify.margin", margin=percent(one.margin)))
    return (
        f'<li><p class="kalm-text" dir="auto">{plain(short(text))}</p>'
        f'<p class="kalm-meta"><strong class="kalm-given{tone}" dir="auto">{given}</strong>'
        f"<span>{percent(one.score)}</span><span>{margin}</span></p>"
        f'<details><summary>{plain(t("classify.scores"))}</summary><ul class="kalm-bars">{bars}</ul></details></li>'
    )
