"""A finished model's vectors turned onto their principal axes, so that the first values say most.

A rotation changes no product of two vectors, so at full width nothing changes. Of a cut vector it decides what is
kept: with the axes in the order of their energy the first d hold as much of the training texts' vectors as any d
directions can (Eckart and Young, 1936). The axes go through the origin and not through the mean, since it is products
and not differences that are to be kept. Matryoshka training (arXiv 2205.13147) aims at the same end by the loss;
the two go together.
"""

from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from embedder import Embedder
from embedder.dense import with_dense
from embedder.errors import AppError
from embedder.protocol import Vectors
from trainer.config import StageConfig
from trainer.data import TrainingData

_BATCH_TEXTS = 1024


class Unturnable(AppError):
    """A model that is not turned onto its axes."""


def rotate_checkpoint(source: Path, folder: Path, stage: StageConfig, rows: int) -> Mapping[int, float]:
    """Write a copy of a model that ends in a rotation, as a dense layer after the pooling.

    Args:
        source: Folder of a finished model, packed or not.
        folder: Made if it is not there.
        stage: Whose texts, prompted as there, decide what the axes are.
        rows: How many of its rows are taken, in the order in which training would visit them.

    Returns:
        Share of the vectors' energy that the rotated vectors keep at each of the model's widths.

    Raises:
        Unturnable: If the model has a dense layer already, or no list of modules to add one to.
        AppError: If model or data cannot be opened.
    """
    if source.is_dir() and not (source / "modules.json").is_file():
        raise Unturnable(
            f"{source} is a plain transformers folder; save it in the sentence-transformers layout, as training does."
        )
    embedder = Embedder.load(str(source), max_tokens=stage.data.max_document_tokens)
    if embedder.has_dense:
        raise Unturnable(f"{source} ends in a dense layer already; name the model as it was trained.")
    products = np.zeros((embedder.dims[0], embedder.dims[0]))
    texts = prompted_texts(stage, rows)
    while batch := list(islice(texts, _BATCH_TEXTS)):
        vectors = embedder.encode_prompted(batch, "").astype(np.float64)
        products += vectors.T @ vectors
    axes, energies = principal_axes(products)
    with_dense(source, folder, torch.from_numpy(axes))
    Embedder.load(str(folder))
    kept = energies.cumsum() / energies.sum()
    return {dim: float(kept[dim - 1]) for dim in embedder.dims}


def prompted_texts(stage: StageConfig, rows: int) -> Iterator[str]:
    """Queries and positives of a stage's first rows, each behind its prompt."""
    data = TrainingData.of_stage(stage)
    plan = data.plan(stage.batch_size)
    for step in range(-(-rows // stage.batch_size)):
        for example in data.examples(plan.batch(step).visits):
            yield example.source.query_prompt + example.query
            yield example.source.document_prompt + example.positive


def principal_axes(products: NDArray[np.float64]) -> tuple[Vectors, NDArray[np.float64]]:
    """Orthonormal directions through the origin by the energy that vectors have along them.

    Args:
        products: ``X^T X`` of vectors ``X``, shape ``(D, D)``.

    Returns:
        The axes as rows ``(D, D)``, float32, largest energy first, each pointing where its largest value is positive;
        and their energies ``(D,)``.
    """
    energies, columns = np.linalg.eigh(products)
    axes = columns.T[::-1]
    largest = axes[np.arange(len(axes)), np.abs(axes).argmax(axis=1)]
    return np.asarray(axes * np.sign(largest)[:, None], dtype=np.float32), energies[::-1].clip(min=0.0)
