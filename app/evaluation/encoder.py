"""Our models as mteb calls them, and as ``mteb.get_model`` finds them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Unpack

import mteb
from mteb.abstasks.task_metadata import TaskMetadata
from mteb.models import ModelMeta
from mteb.models.abs_encoder import AbsEncoder
from mteb.models.model_implementations import MODEL_REGISTRY
from mteb.models.model_meta import ScoringFunction
from mteb.types import EncodeKwargs, PromptType

from app.evaluation.prompts import Convention, Prompts, prompts_of
from embedder.catalogue import BUNDLED, PUBLISHED
from embedder.checkpoint import fingerprint, read_checkpoint
from embedder.encoder import Embedder
from embedder.protocol import Vectors

ORGANISATION = "kalm-retrieval"
"""Before the names of models as mteb writes them, so that none is taken for somebody else's entry."""


class PromptedEncoder(AbsEncoder):
    """A model of ours, with the prompts of a convention. Implements mteb's ``EncoderProtocol``."""

    mteb_model_meta: ModelMeta

    def __init__(self, embedder: Embedder, prompts: Prompts, meta: ModelMeta) -> None:
        self.mteb_model_meta = meta
        self._embedder = embedder
        self._prompts = prompts

    def encode(
        self,
        inputs: Iterable[Mapping[str, Any]],
        *,
        task_metadata: TaskMetadata,
        hf_split: str,
        hf_subset: str,
        prompt_type: PromptType | None = None,
        **kwargs: Unpack[EncodeKwargs],
    ) -> Vectors:
        """Unit rows, shape (N, dim), of the texts that ``inputs`` deals out; batches are the encoder's own affair."""
        texts = [text for batch in inputs for text in batch["text"]]
        return self._embedder.encode_prompted(texts, self._prompts(task_metadata, prompt_type))


def prompted(embedder: Embedder, convention: Convention) -> PromptedEncoder:
    """A loaded model with the prompts of a convention.

    Its entry tells mteb's results apart: by the fingerprint, and by everything a caller chose.

    Raises:
        EvaluationRefused: As ``prompts_of`` does.
    """
    chosen = {
        "prompts": convention,
        "dim": embedder.dim,
        "dtype": embedder.dtype,
        "max_tokens": embedder.max_tokens,
    }
    meta = entry(
        embedder.name,
        embedder.fingerprint,
        source=embedder.source,
        dims=embedder.dim,
        max_tokens=embedder.max_tokens,
        chosen=chosen,
    )
    return PromptedEncoder(embedder, prompts_of(convention, embedder.prompts), meta)


def entry(
    name: str,
    revision: str,
    *,
    source: str,
    dims: int | Sequence[int],
    max_tokens: int,
    chosen: Mapping[str, Any] | None = None,
) -> ModelMeta:
    """How mteb describes a model, by which it is loaded and its results are filed.

    Args:
        name: What people call it.
        revision: Changes when its weights do.
        source: What ``Embedder.load`` opens.
        dims: Its width, or those to choose from.
        max_tokens: Longest input.
        chosen: Settings that make other results of the same weights; part of where they are filed.
    """
    return ModelMeta(
        loader=load_encoder,
        loader_kwargs={"source": source},
        name=f"{ORGANISATION}/{name.replace('/', '--')}",
        revision=revision,
        release_date=None,
        languages=["eng-Latn", "zho-Hans"] if name in BUNDLED or name in PUBLISHED else None,
        n_parameters=None,
        memory_usage_mb=None,
        max_tokens=max_tokens,
        embed_dim=dims if isinstance(dims, int) else list(dims),
        license=None,
        open_weights=True,
        public_training_code=None,
        public_training_data=None,
        framework=["PyTorch"],
        similarity_fn_name=ScoringFunction.COSINE,
        use_instructions=True,
        training_datasets=None,
        experiment_kwargs=chosen,
    )


def load_encoder(
    model_name: str,
    revision: str | None = None,
    *,
    source: str,
    device: str | None = None,
    embed_dim: int | None = None,
    prompts: Convention = "kalm",
    dtype: str = "auto",
) -> PromptedEncoder:
    """What mteb calls to load one of our entries.

    Args:
        model_name: The entry's name.
        revision: The entry's revision.
        source: What ``Embedder.load`` opens.
        device: As ``Embedder.load`` takes it; None finds one.
        embed_dim: Width of the vectors; None takes the widest.
        prompts: The convention.
        dtype: As ``Embedder.load`` takes it.
    """
    return prompted(Embedder.load(source, dim=embed_dim, device=device or "auto", dtype=dtype), prompts)


def register() -> list[str]:
    """Enter the models of the catalogue into mteb's registry, for ``mteb.get_model``; returns their names there.

    No weights are loaded. Entering them again changes nothing.
    """
    entries = [
        entry(name, published.revision, source=name, dims=published.dims, max_tokens=512)
        for name, published in PUBLISHED.items()
    ]
    for name, bundled in BUNDLED.items():
        checkpoint = read_checkpoint(bundled.folder)
        limit = checkpoint.max_tokens or checkpoint.positions or 512
        entries.append(
            entry(name, fingerprint(checkpoint), source=name, dims=checkpoint.dims, max_tokens=min(512, limit))
        )
    MODEL_REGISTRY.update({str(one.name): one for one in entries})
    return [mteb.get_model_meta(str(one.name)).name or "" for one in entries]
