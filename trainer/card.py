"""The model card: what a model is and how it came about, told from the manifests of its stages and nothing else."""

import json
from collections.abc import Callable, Sequence
from typing import Any

from trainer.durable import write_text
from trainer.plots import plot_run
from trainer.runs import Facts, Run, SourceFacts

_TAGS = ("sentence-transformers", "feature-extraction", "kalm")
_NONE = "–"

_USAGE = """## Use

With the package it was trained with, which puts the instructions before the texts:

```python
from embedder import Embedder

encoder = Embedder.load("path/to/this/folder")
queries = encoder.encode_queries(["how do bees make honey"], task="Retrieval")
documents = encoder.encode_documents(["Bees dry nectar with their wings until it becomes honey."])
print(queries @ documents.T)
```

With sentence-transformers:

```python
from sentence_transformers import SentenceTransformer

model = SentenceTransformer("path/to/this/folder"{options})
queries = model.encode(["how do bees make honey"], prompt_name="query")
documents = model.encode(["Bees dry nectar with their wings until it becomes honey."], prompt_name="document")
print(model.similarity(queries, documents))
```"""


def model_card(manifests: Sequence[Facts], *, name: str) -> str:
    """A card in Markdown with the front matter of the Hugging Face hub.

    Args:
        manifests: What the stages wrote, in the order they were run; at least one.
        name: What the model is called.

    Returns:
        The card. What the manifests do not say is not in it; a licence they do not name is ``unknown``.
    """
    parts = [
        _front_matter(manifests),
        f"# {_text(name)}",
        _what_it_is(manifests),
        _stages(manifests),
        _data(manifests),
        _scores(manifests),
        _usage(manifests),
        _reproduction(manifests),
        _limits(manifests),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def write_report(run: Run, earlier: Sequence[Facts] = ()) -> None:
    """Draw a run's plots and write its card, beside them and inside the model's folder.

    Args:
        run: A run that was begun.
        earlier: Manifests of the stages before it.
    """
    facts = run.facts()
    if facts is None:
        raise ValueError(f"the run in {run.folder} was never begun")
    plot_run(run.metrics, run.plot_png, run.plot_html, f"{run.folder.name}: {facts.stage}")
    card = model_card([*earlier, facts], name=run.folder.name)
    write_text(run.card, card)
    if run.model.is_dir():
        write_text(run.model / run.card.name, card)


def _front_matter(manifests: Sequence[Facts]) -> str:
    """JSON values are YAML values, so nothing that a name holds can break out."""
    first = manifests[0]
    fields: dict[str, object] = {"license": first.base_licence or "unknown"}
    if languages := _languages(manifests):
        fields["language"] = languages
    fields |= {"library_name": "sentence-transformers", "pipeline_tag": "sentence-similarity", "tags": list(_TAGS)}
    if first.base_model:
        fields["base_model"] = first.base_model
    return "\n".join(("---", *(f"{key}: {json.dumps(value)}" for key, value in fields.items()), "---"))


def _what_it_is(manifests: Sequence[Facts]) -> str:
    trained = _last_trained(manifests)
    start = manifests[0].base_model or _public((manifests[0].config.get("base") or {}).get("path") or "")
    stages = ", ".join(facts.stage for facts in manifests)
    sentences = ["A text embedding model: the dot product of two of its vectors, which have length 1, is their cosine."]
    sentences.append(f"Made {f'from {_text(start)} ' if start else ''}in these stages: {stages}.")
    sentences += [_text(note) for facts in manifests for note in facts.base_notes]
    if trained:
        sentences.append(f"Its longest input is {trained.config['max_tokens']:,} tokens.")
        if dims := trained.config["loss"]["dims"]:
            widths = " or ".join(str(dim) for dim in dims)
            sentences.append(f"Vectors may be cut to their first {widths} numbers and scaled to length 1 again.")
    sentences.append("The method follows KaLM-Embedding-V2 ([arXiv 2506.20923](https://arxiv.org/abs/2506.20923)).")
    return " ".join(sentences)


def _stages(manifests: Sequence[Facts]) -> str:
    """One column a stage; a row in which no stage has anything is left out."""
    rows = [(label, [cell(facts) for facts in manifests]) for label, cell in _ROWS]
    filled = [[label, *cells] for label, cells in rows if any(cell != _NONE for cell in cells)]
    return "## How it was made\n\n" + _table(["", *(facts.stage for facts in manifests)], filled)


def _setting(path: str, *, unless: object = None) -> Callable[[Facts], str]:
    """A cell with a setting by its dotted key; empty where the stage has none or it is off."""

    def cell(facts: Facts) -> str:
        value: Any = facts.config
        for key in path.split("."):
            value = value.get(key) if isinstance(value, dict) else None
        return _NONE if value is None or value == unless else _value(value)

    return cell


def _value(value: Any) -> str:  # noqa: ANN401 - a JSON value
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(_value(item) for item in value) or _NONE
    return f"{value:g}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)


def _teachers(facts: Facts) -> str:
    return ", ".join(_public(teacher["model"]) for teacher in facts.config.get("teachers") or ()) or _NONE


def _lora(facts: Facts) -> str:
    lora = facts.config.get("lora")
    return f"rank {lora['rank']}, alpha {lora['alpha']}" if lora else _NONE


def _machine(facts: Facts) -> str:
    here = facts.hardware
    kind = f"{here['gpus']} × {here['gpu']}" if here.get("gpu") else f"{here.get('cpu')}, {here.get('cores')} cores"
    return f"{kind}, {here.get('processes', 1)} process{'es' if here.get('processes', 1) > 1 else ''}"


def _time(facts: Facts) -> str:
    minutes, seconds = divmod(round(facts.seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s"


def _code(facts: Facts) -> str:
    commit = facts.code.get("commit")
    return f"{facts.code.get('version') or _NONE}{f' ({commit[:12]})' if commit else ''}"


_ROWS: tuple[tuple[str, Callable[[Facts], str]], ...] = (
    ("sources", lambda facts: f"{len(facts.sources):,}" if facts.sources else _NONE),
    ("rows", lambda facts: f"{sum(source.rows for source in facts.sources):,}" if facts.sources else _NONE),
    ("steps", lambda facts: f"{facts.steps:,}" if facts.steps else _NONE),
    ("tokens", lambda facts: f"{facts.tokens:,}" if facts.tokens else _NONE),
    ("batch size", _setting("batch_size")),
    ("learning rate", _setting("optimizer.learning_rate")),
    ("warm-up share", _setting("optimizer.warmup")),
    ("weight decay", _setting("optimizer.weight_decay", unless=0)),
    ("token table frozen", _setting("optimizer.freeze_embeddings", unless=False)),
    ("LoRA", _lora),
    ("temperature", _setting("loss.temperature")),
    ("hard negatives per query", _setting("loss.negatives_per_query", unless=0)),
    ("in-batch negatives", _setting("loss.in_batch")),
    ("query-query negatives", _setting("loss.query_query", unless=False)),
    ("positive-positive negatives", _setting("loss.positive_positive", unless=False)),
    ("false-negative margin", _setting("loss.false_negative_margin")),
    ("focal exponent", _setting("loss.focal_gamma", unless=0)),
    ("pair-mixed negatives", _setting("loss.pair_mixes", unless=0)),
    ("list-mixed negatives", _setting("loss.list_mixes", unless=0)),
    ("widths", _setting("loss.dims", unless=[])),
    ("weights of the widths", _setting("loss.weights", unless=[])),
    ("contrastive weight", _setting("loss.contrastive_weight", unless=1)),
    ("distillation weight", _setting("loss.distill_weight", unless=0)),
    ("weight of the teachers' vectors", _setting("loss.vector_weight", unless=0)),
    ("teachers", _teachers),
    (
        "averaged checkpoints",
        lambda facts: f"{len(facts.config['members']):,}" if facts.config.get("members") else _NONE,
    ),
    ("averaging", _setting("method")),
    ("precision", _setting("runtime.precision")),
    ("seed", _setting("seed")),
    ("time", _time),
    ("machine", _machine),
    ("code", _code),
    ("torch", lambda facts: facts.versions.get("torch") or _NONE),
    ("transformers", lambda facts: facts.versions.get("transformers") or _NONE),
)
"""What the table of stages says, row by row."""


def _data(manifests: Sequence[Facts]) -> str:
    rows = [
        [facts.stage, source.name, f"{source.rows:,}", f"{source.weight:g}", _spoken(source), source.licence or _NONE]
        for facts in manifests
        for source in facts.sources
    ]
    if not rows:
        return ""
    return "## Data\n\n" + _table(["stage", "source", "rows", "weight", "languages", "licence"], rows)


def _spoken(source: SourceFacts) -> str:
    return ", ".join(source.languages) or _NONE


def _scores(manifests: Sequence[Facts]) -> str:
    """A column for the start and one for each stage that was evaluated."""
    before = next((facts.scores_before for facts in manifests if facts.scores_before), {})
    columns = [("before", before)] if before else []
    columns += [(f"after {facts.stage}", facts.scores) for facts in manifests if facts.scores]
    tasks = sorted({task for _, scores in columns for task in scores})
    if not tasks:
        return ""
    rows = [[task, *(f"{scores[task]:.2f}" if task in scores else _NONE for _, scores in columns)] for task in tasks]
    if len(tasks) > 1:
        rows.append(["mean", *(_mean(scores, tasks) for _, scores in columns)])
    return "## Scores\n\n" + _table(["task", *(label for label, _ in columns)], rows)


def _mean(scores: dict[str, float], tasks: Sequence[str]) -> str:
    """Over all tasks, or nothing: a mean over fewer would not compare."""
    return f"{sum(scores[task] for task in tasks) / len(tasks):.2f}" if set(tasks) <= scores.keys() else _NONE


def _usage(manifests: Sequence[Facts]) -> str:
    trained = _last_trained(manifests)
    dims = trained.config["loss"]["dims"] if trained else []
    return _USAGE.format(options=f", truncate_dim={dims[1]}" if len(dims) > 1 else "")


def _reproduction(manifests: Sequence[Facts]) -> str:
    commands = list(dict.fromkeys(facts.command for facts in manifests if facts.command))
    lines = [
        "## Reproduce",
        "All settings are in `config.json`, and digests of data and code in `manifest.json`, of each run.",
    ]
    if commands:
        lines.append("\n".join(("```sh", *commands, "```")))
    return "\n\n".join(lines)


def _limits(manifests: Sequence[Facts]) -> str:
    limits = []
    if languages := _languages(manifests):
        limits.append(f"Trained on texts in {', '.join(languages)}; other languages were not looked at.")
    trained = _last_trained(manifests)
    if trained:
        data = trained.config["data"]
        limits.append(
            f"In the last training stage queries were cut to {data['max_query_tokens']:,} tokens and documents to "
            f"{data['max_document_tokens']:,}; longer texts may be served but were not learnt from."
        )
    if any(facts.scores for facts in manifests):
        most = max(facts.config.get("evaluation_texts") or 0 for facts in manifests)
        limits.append(
            f"The scores are of local tasks cut to at most {most:,} queries, pairs or items: they compare the stages "
            "with one another, and not with a public ranking."
        )
    else:
        limits.append("It was not evaluated.")
    limits += [f"The stage {facts.stage} was not finished." for facts in manifests if facts.finished is None]
    return "## Limits\n\n" + "\n".join(f"- {limit}" for limit in limits)


def _last_trained(manifests: Sequence[Facts]) -> Facts | None:
    """The last stage that trained: a soup has neither data nor loss."""
    return next((facts for facts in reversed(manifests) if "loss" in facts.config), None)


def _languages(manifests: Sequence[Facts]) -> list[str]:
    return sorted({code for facts in manifests for source in facts.sources for code in source.languages})


def _public(model: str) -> str:
    """A hub id as it is; of a folder only the last name, since where it lies is nobody's business."""
    is_hub_id = model.count("/") == 1 and not model.startswith(("/", ".", "~"))
    return model if is_hub_id else model.rstrip("/").rpartition("/")[2]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(_text(cell) for cell in line)} |" for line in lines)


def _text(text: str) -> str:
    """A name that does not become markup."""
    return " ".join(text.replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|").split())
