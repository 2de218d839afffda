"""The teachers of a distillation (KaLM-V2.5): models whose similarities the student learns.

A teacher is anything ``Embedder.load`` opens, or, for models that pool otherwise than by the mean (Qwen3-Embedding,
the teacher of V2.5), anything sentence-transformers opens, or any Python object that encodes (``foreign.py``). Its
vectors go through the content-addressed cache, so that a text is encoded once however many epochs, runs and students
there are; with a cache filled before, no teacher runs.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from embedder import Embedder
from embedder.cache import CachedEncoder, VectorCache
from embedder.hardware import pick_device
from embedder.protocol import TextEncoder, Vectors
from trainer.config import TeacherConfig
from trainer.foreign import CallableTeacher, ForeignTeacher, NoTeacher
from trainer.formats import Example

_CACHE_BYTES = 2**60
"""No bound: were vectors dropped, the teacher would encode them again every epoch."""


class Teachers:
    """Several teachers, each for the languages it knows."""

    def __init__(self, encoders: Sequence[TextEncoder], languages: Sequence[frozenset[str]]) -> None:
        """Take the teachers in the order they are asked.

        Args:
            encoders: The models.
            languages: What each teaches (ISO 639-1); an empty set teaches all.
        """
        self._encoders = tuple(encoders)
        self._languages = tuple(languages)
        self._width = max(encoder.dim for encoder in encoders)

    @classmethod
    def open(cls, configs: Sequence[TeacherConfig], cache: Path, device: str = "auto") -> "Teachers":
        """Load teachers.

        Args:
            configs: Which.
            cache: The file their vectors are kept in.
            device: Where they compute.

        Raises:
            AppError: If a model cannot be opened.
        """
        store = VectorCache(cache, _CACHE_BYTES)
        encoders = [CachedEncoder(_open(config, device), store, queries=True) for config in configs]
        return cls(encoders, [frozenset(config.languages) for config in configs])

    def teacher_of(self, languages: frozenset[str]) -> int:
        """Number of the first teacher that knows all of some languages; -1 if none does."""
        for number, known in enumerate(self._languages):
            if not known or (languages and languages <= known):
                return number
        return -1

    def check(self, sources: Sequence[frozenset[str]]) -> None:
        """Refuse data nobody teaches.

        Raises:
            NoTeacher: If no source has a teacher.
        """
        if all(self.teacher_of(languages) < 0 for languages in sources):
            raise NoTeacher("No teacher knows the languages of any source; name teachers for them or list none.")

    def teach(self, examples: Sequence[Example], negatives_per_query: int) -> tuple[Tensor, Tensor]:
        """The teachers' vectors of a batch.

        Args:
            examples: B rows.
            negatives_per_query: M.

        Returns:
            Number of each row's teacher ``(B,)``, -1 without one, and its vectors of query, positive and negatives
            ``(B, 2 + M, E)``; narrower teachers are filled up with zeros, which changes no product.
        """
        numbers = [self.teacher_of(example.source.languages) for example in examples]
        taught = np.zeros((len(examples), 2 + negatives_per_query, self._width), dtype=np.float32)
        groups: dict[tuple[int, str, str | None], list[int]] = {}
        for row, (number, example) in enumerate(zip(numbers, examples, strict=True)):
            groups.setdefault((number, example.source.task, example.source.instruction), []).append(row)
        for (number, task, instruction), rows in groups.items():
            if number >= 0:
                _teach(self._encoders[number], task, instruction, [examples[row] for row in rows], rows, taught)
        return torch.tensor(numbers), torch.from_numpy(taught)


def _teach(
    encoder: TextEncoder,
    task: str,
    instruction: str | None,
    examples: Sequence[Example],
    rows: Sequence[int],
    out: Vectors,
) -> None:
    """Write one teacher's vectors of some rows into ``out``, shape (B, 2 + M, E)."""
    queries = [example.query for example in examples]
    if instruction == "":  # bare, or prompted in the rows: as documents are
        out[rows, 0, : encoder.dim] = encoder.encode_documents(queries)
        task = "Retrieval"
    else:
        out[rows, 0, : encoder.dim] = encoder.encode_queries(queries, task=task, instruction=instruction)
    places, texts = [], []
    for row, example in zip(rows, examples, strict=True):
        for column, text in enumerate((example.positive, *example.negatives), start=1):
            places.append((row, column))
            texts.append(text)
    vectors = encoder.encode_documents(texts, task=task)
    at_rows, at_columns = np.array(places).T
    out[at_rows, at_columns, : encoder.dim] = vectors


def _open(config: TeacherConfig, device: str) -> TextEncoder:
    if config.engine == "kalm":
        # On a CPU "auto" depends on a timing: a run that goes on would be taught other vectors.
        dtype = "float32" if pick_device(device).type == "cpu" else "auto"
        return Embedder.load(config.model, device=device, dtype=dtype, max_tokens=config.max_tokens)
    if config.engine == "callable":
        return CallableTeacher(config.model, config.query_prompt)
    return ForeignTeacher(config.model, config.query_prompt, device)
