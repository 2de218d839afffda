"""What a run is, as values: frozen, validated, written into the run folder and read back from it.

A recipe (``recipes.py``) is a function that returns these; ``--set key=value`` changes them one field at a time
(:func:`override`). Facts of KaLM-Embedding-V2 are from arXiv 2506.20923; where the paper's value is not public the
field says *unconfirmed* and its default is the neutral choice.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from embedder.errors import AppError

Form = Literal["auto", "contrastive", "graded", "labelled"]
"""How the rows of a source are read: a query and what answers it, a scored pair, or a text and its label."""

Positive = Annotated[int, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]


class InvalidConfig(AppError):
    """A setting that does not exist or cannot be what it was set to."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Source(_Frozen):
    """One table of training texts and how it enters the mixture."""

    name: str
    """What logs and the model card call it."""
    path: str
    """A parquet or JSONL file or a folder of them, absolute or below the data's root."""
    form: Form = "auto"
    """How its rows are read; ``auto`` tells it from the columns."""
    task: str = "Retrieval"
    """An MTEB task type or a task name of the prompt registry: it decides the instruction of each side."""
    instruction: str | None = None
    """An instruction of its own for the query; an empty one leaves the texts bare or as the rows prompt them."""
    languages: tuple[str, ...] = ()
    """ISO 639-1 codes of its texts; they choose the teacher."""
    weight: Annotated[float, Field(gt=0)] = 1.0
    """Visits to a row in one epoch; 0.5 visits every other row."""
    cap: Positive | None = None
    """Most rows used, drawn by the seed."""
    rows: int | None = None
    """Rows it is published to have, for a plan made without it."""
    licence: str = ""
    """Named in the model card."""


class DataConfig(_Frozen):
    """Where the texts are."""

    root: str = ""
    """A folder of tables, ``hub:owner/name``, or ``articles:FOLDER`` to make pairs from Markdown articles."""
    sources: tuple[Source, ...] = ()
    """What is taken from the root; nothing listed takes all there is."""
    example_share: Share = 0.5
    """Share of the visits to a labelled row whose positive is another text of the class and not the label's name
    (example-based labelling, arXiv 2506.20923; the paper's share is *unconfirmed*)."""
    homogeneous_share: Share = 1.0
    """Share of every batch that comes from one source; the rest is exchanged between batches (the semi-homogeneous
    task batches of KaLM-Embedding V1, whose released script uses 0)."""
    max_query_tokens: Positive = 512
    max_document_tokens: Positive = 512

    @model_validator(mode="after")
    def _named_once(self) -> Self:
        names = [source.name for source in self.sources]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"sources named twice: {', '.join(sorted(twice))}")
        return self


class LossConfig(_Frozen):
    """The objective: what each term is stands in ``losses.py``."""

    temperature: Annotated[float, Field(gt=0)] = 0.01
    """Of InfoNCE; the released script of V1 says 0.01, the value for V2 is *unconfirmed*."""
    dims: tuple[Positive, ...] = ()
    """Matryoshka widths, widest first; none means the model's own width alone."""
    weights: tuple[float, ...] = ()
    """Weight of each width in the sum."""
    in_batch: bool = True
    """Other queries' positives and hard negatives are negatives."""
    cross_device: bool = True
    """So are those of the other processes."""
    query_query: bool = False
    """Other queries are negatives of a query."""
    positive_positive: bool = False
    """Other positives are negatives of a positive."""
    negatives_per_query: Annotated[int, Field(ge=0)] = 0
    """Hard negatives drawn from a row; group size less one."""
    false_negative_margin: float | None = None
    """A negative more similar to the query than its positive by more than this is masked; None masks only texts
    known to be positives."""
    focal_gamma: Annotated[float, Field(ge=0)] = 0.0
    """Exponent of the focal weight (1-p)^gamma; 0.5 in the 12B sibling, *unconfirmed* for the 0.5B."""
    focal_detached: bool = True
    """No gradient through the weight; *unconfirmed*."""
    pair_mixes: Annotated[int, Field(ge=0)] = 0
    """Synthetic negatives per query mixed from two of its own; *unconfirmed*, 1 is neutral."""
    list_mixes: Annotated[int, Field(ge=0, le=1)] = 0
    """Synthetic negatives per query mixed from all of its own; *unconfirmed*, 1 is neutral."""
    list_temperature: Annotated[float, Field(gt=0)] = 0.1
    """Of the softmax that weighs the negatives of a list mix; *unconfirmed*."""
    mix_detached: bool = False
    """No gradient through synthetic negatives; *unconfirmed*."""
    distill_weight: Annotated[float, Field(ge=0)] = 0.0
    """Weight of KL(teacher || student) beside the contrastive loss; *unconfirmed*, 1 is neutral."""
    distill_temperature: Annotated[float, Field(gt=0)] = 0.05
    """Of both softmaxes; 0.05 is the best of the paper's ablation."""
    distill_candidates: Literal["group", "batch", "texts"] = "group"
    """Whether the softmax runs over a query's own positive and negatives or over the batch's; *unconfirmed*. ``texts``
    adds a second one over the batch's other queries, which is what classification and clustering compare."""
    vector_weight: Annotated[float, Field(ge=0)] = 0.0
    """Weight of 1 - cos between the teachers' vectors and a linear map of the student's (``heads.py``); not the
    paper's, for short runs, where a batch's similarities say too little."""
    contrastive_weight: Annotated[float, Field(ge=0)] = 1.0
    """0 leaves the distillation term alone."""
    graded_scale: Annotated[float, Field(gt=0)] = 20.0
    """Inverse temperature of CoSENT."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if len(self.dims) != len(self.weights):
            raise ValueError(f"{len(self.dims)} dims need as many weights, not {len(self.weights)}")
        if list(self.dims) != sorted(set(self.dims), reverse=True):
            raise ValueError("dims go from the widest to the narrowest, each once")
        if (self.pair_mixes or self.list_mixes) and self.negatives_per_query < 2:
            raise ValueError("mixing needs at least two negatives_per_query")
        return self


class OptimizerConfig(_Frozen):
    """AdamW with a warm-up and a linear decay to zero."""

    learning_rate: Annotated[float, Field(gt=0)] = 1e-5
    warmup: Share = 0.1
    """Share of all steps."""
    betas: tuple[float, float] = (0.9, 0.999)
    epsilon: float = 1e-8
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    max_norm: Annotated[float, Field(gt=0)] = 1.0
    """Gradients longer than this are shortened to it."""
    freeze_embeddings: bool = False
    """Leave the token table as it is: most of a small model, and the part that moves least."""


class LoraConfig(_Frozen):
    """Low-rank adapters (arXiv 2106.09685), merged into the weights when the stage ends."""

    rank: Positive = 8
    alpha: Positive = 16
    dropout: Share = 0.0
    targets: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj")


class RuntimeConfig(_Frozen):
    """How the arithmetic is done: nothing here changes what is learned, beyond rounding."""

    precision: Literal["bfloat16", "float32", "float64"] = "bfloat16"
    """Of the forward and backward pass; the weights that learn are kept in float32 (float64 with float64)."""
    chunk_tokens: Positive = 2048
    """Tokens of one forward pass of the gradient cache, padding included."""
    graph_tokens: Annotated[int, Field(ge=0)] = 2048
    """Tokens whose activations may be in memory at once while the loss is computed. A batch of no more is encoded
    once; of a larger one, what is beyond them is encoded twice. 0 encodes all twice."""
    gradient_checkpointing: bool = False
    strategy: Literal["ddp", "fsdp2"] = "ddp"
    """Where there are several processes: weights on each, or shared out."""
    device: str = "auto"


class TeacherConfig(_Frozen):
    """A model whose similarities the student learns."""

    model: str
    """A catalogue name, folder or hub id; of a callable ``module:name``."""
    engine: Literal["kalm", "sentence-transformers", "callable"] = "kalm"
    """What opens it: our encoder for models that pool by the mean, sentence-transformers for all it knows, or Python
    for any object with a method ``encode``."""
    query_prompt: str = ""
    """Put before queries, ``{instruction}`` standing for the task's; our own encoder knows without being told."""
    max_tokens: Positive | None = None
    """Most of a text that our encoder lets it read; None leaves it to the model. What the student does not read it
    need not know."""
    languages: tuple[str, ...] = ()
    """Sources it teaches: those of which it reads every language; none listed teaches all."""


class BackboneConfig(_Frozen):
    """The model a stage starts from."""

    path: str = ""
    """A folder, a hub id or a GGUF file; empty starts from the stage before."""
    layers: tuple[int, ...] = ()
    """Layers kept, by number; none listed keeps all."""
    vocabulary: Positive | None = None
    """Tokens kept: the most frequent of the stage's own texts; None keeps all."""


class VariantConfig(_Frozen):
    """What KaLM-Embedding-V2 decided against, for measuring its decisions (``variants.py``)."""

    attention: Literal["bidirectional", "causal"] = "bidirectional"
    pooling: Literal["mean", "last"] = "mean"
    instructions: bool = True
    """False leaves all texts bare."""


class StageConfig(_Frozen):
    """One stage of training on one loop."""

    name: Literal["pretrain", "finetune", "distill"]
    data: DataConfig
    loss: LossConfig
    base: BackboneConfig = BackboneConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    runtime: RuntimeConfig = RuntimeConfig()
    lora: LoraConfig | None = None
    variant: VariantConfig = VariantConfig()
    teachers: tuple[TeacherConfig, ...] = ()
    batch_size: Positive = 512
    """Queries of one step over all processes: each sees all the others' texts."""
    epochs: Positive = 1
    max_steps: Positive | None = None
    """Steps in all, whatever ``epochs`` says; None goes by the epochs."""
    seed: int = 42
    stored_bits: Literal[4, 8] | None = None
    """Compute with matrices rounded as ``embedder.packing`` will store them, so that packing the finished model costs
    nothing; None computes with them as they are."""
    max_tokens: Positive = 512
    """Longest input the finished checkpoint declares."""
    checkpoint_every: Positive = 500
    checkpoints_kept: Positive = 2
    export_checkpoints: bool = False
    """Also write the kept checkpoints as finished models, for a soup."""
    teacher_cache: str = ""
    """File of the teachers' vectors, shared by runs; empty keeps them in the run folder."""
    log_every: Positive = 10
    evaluate_every: Positive | None = None
    """Steps between two evaluations; None evaluates before the first step and after the last."""
    evaluate_before: bool = True
    """Whether there is one before the first step, to see what the stage gains."""
    evaluation: str = ""
    """A folder of MTEB-shaped tasks; empty evaluates nothing."""
    evaluation_texts: Positive = 2000
    """Most queries, pairs or items of a task that are evaluated."""

    @model_validator(mode="after")
    def _teachers_and_term(self) -> Self:
        if bool(self.teachers) != bool(self.loss.distill_weight or self.loss.vector_weight):
            raise ValueError(
                "teachers belong to loss.distill_weight or loss.vector_weight: set teachers and a weight, or neither"
            )
        if self.lora and self.runtime.strategy == "fsdp2":
            raise ValueError("LoRA needs runtime.strategy=ddp")
        if self.stored_bits and (self.lora or self.runtime.strategy == "fsdp2"):
            raise ValueError("stored_bits needs whole weights: no LoRA, and runtime.strategy=ddp")
        return self


class SoupConfig(_Frozen):
    """Averaging of finished checkpoints (model soup, arXiv 2203.05482)."""

    name: Literal["soup"] = "soup"
    members: tuple[str, ...] = ()
    """Checkpoint folders; empty takes the checkpoints the stage before has kept and its result."""
    method: Literal["uniform", "weighted", "greedy"] = "uniform"
    """``greedy`` adds a member only if the held-out score of ``evaluation`` does not fall."""
    weights: tuple[float, ...] = ()
    """One per member for ``weighted``; scaled to the sum 1."""
    evaluation: str = ""
    evaluation_texts: Positive = 2000

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.method == "weighted") != bool(self.weights):
            raise ValueError("weights go with method=weighted")
        if self.method == "greedy" and not self.evaluation:
            raise ValueError("method=greedy needs an evaluation folder")
        return self


Config = TypeVar("Config", StageConfig, SoupConfig)


def override(config: Config, assignments: Sequence[str]) -> Config:
    """A config with some fields set, as ``--set key=value`` does; keys of inner values are dotted.

    Values are read as JSON where they are JSON (``0.02``, ``true``, ``[256, 128]``, ``null``), else as they stand.

    Raises:
        InvalidConfig: If a key does not exist or a value does not fit.
    """
    values: Any = config.model_dump(mode="json")
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        if not equals:
            raise InvalidConfig(f"--set {assignment} has no value; write it as key=value.")
        _assign(values, key, _value(text))
    return read_config(type(config), values)


def read_config(kind: type[Config], values: Mapping[str, Any]) -> Config:
    """A config from plain values, as written by ``model_dump``.

    Raises:
        InvalidConfig: If it is not one.
    """
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        reason = first["msg"].removeprefix("Value error, ")
        subject = f"The setting {where} cannot be used" if where else "The settings do not go together"
        raise InvalidConfig(f"{subject}: {reason}.") from error


def _assign(values: Any, key: str, value: object) -> None:  # noqa: ANN401 - nested JSON
    *path, last = key.split(".")
    inner = values
    for part in path:
        inner = inner.get(part) if isinstance(inner, dict) else None
    if not isinstance(inner, dict) or last not in inner:
        if path and isinstance(values, dict) and values.get(path[0], ...) is None:
            raise InvalidConfig(f"There is no {path[0]} to set {key!r} of; set it whole, as {path[0]}={{...}}.")
        known = ", ".join(sorted(inner)) if isinstance(inner, dict) else ", ".join(sorted(values))
        raise InvalidConfig(f"There is no setting {key!r}; there are {known}.")
    inner[last] = value


def _value(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return text
