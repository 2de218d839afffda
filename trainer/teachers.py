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
from trainer.heads import Lesson
from trainer.layout import Layout

_CACHE_BYTES = 2**60
"""No bound: were vectors dropped, the teacher would encode them again every epoch."""


class Teachers:
    """Several teachers, each for the languages it knows.

    Attributes:
        width: E, of the widest teacher's vectors.
    """

    def __init__(self, encoders: Sequence[TextEncoder], languages: Sequence[frozenset[str]]) -> None:
        """Take the teachers in the order they are asked.

        Args:
            encoders: The models.
            languages: What each teaches (ISO 639-1); an empty set teaches all.
        """
        self._encoders = tuple(encoders)
        self._languages = tuple(languages)
        self.width = max(encoder.dim for encoder in encoders)

    def __len__(self) -> int:
        """How many there are."""
        return len(self._encoders)

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
        return next((number for number in range(len(self)) if self._knows(number, languages)), -1)

    def _knows(self, number: int, languages: frozenset[str]) -> bool:
        known = self._languages[number]
        return not known or bool(languages and languages <= known)

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
        taught = np.zeros((len(examples), 2 + negatives_per_query, self.width), dtype=np.float32)
        for number, encoder in enumerate(self._encoders):
            rows = [row for row, of_row in enumerate(numbers) if of_row == number]
            _teach(encoder, examples, rows, taught)
        return torch.tensor(numbers), torch.from_numpy(taught)

    def lessons(self, examples: Sequence[Example], layout: Layout) -> list[Lesson]:
        """What every teacher says of every text of a batch whose languages it knows.

        Args:
            examples: B rows.
            layout: Where their texts are.
        """
        hard = layout.negatives.shape[1]
        places = torch.cat([layout.queries[:, None], layout.positives[:, None], layout.negatives], dim=1)  # (B, 2 + M)
        found = []
        for number, encoder in enumerate(self._encoders):
            rows = [row for row, example in enumerate(examples) if self._knows(number, example.source.languages)]
            taught = np.zeros((len(examples), 2 + hard, self.width), dtype=np.float32)
            _teach(encoder, examples, rows, taught)
            texts, vectors = places[rows].flatten(), torch.from_numpy(taught[rows]).flatten(0, 1)
            found.append(Lesson(number, texts[texts >= 0], vectors[texts >= 0]))
        return found


def _teach(encoder: TextEncoder, examples: Sequence[Example], rows: Sequence[int], out: Vectors) -> None:
    """Write one teacher's vectors of some of the rows into ``out``, shape (B, 2 + M, E)."""
    groups: dict[tuple[str, str | None], list[int]] = {}
    for row in rows:
        groups.setdefault((examples[row].source.task, examples[row].source.instruction), []).append(row)
    for (task, instruction), alike in groups.items():
        queries = [examples[row].query for row in alike]
        if instruction == "":  # bare, or prompted in the rows: as documents are
            out[alike, 0, : encoder.dim] = encoder.encode_documents(queries)
            task = "Retrieval"
        else:
            out[alike, 0, : encoder.dim] = encoder.encode_queries(queries, task=task, instruction=instruction)
        places, texts = [], []
        for row in alike:
            for column, text in enumerate((examples[row].positive, *examples[row].negatives), start=1):
                places.append((row, column))
                texts.append(text)
        at_rows, at_columns = np.array(places).T
        out[at_rows, at_columns, : encoder.dim] = encoder.encode_documents(texts, task=task)


def _open(config: TeacherConfig, device: str) -> TextEncoder:
    if config.engine == "kalm":
        # On a CPU "auto" depends on a timing: a run that goes on would be taught other vectors.
        dtype = "float32" if pick_device(device).type == "cpu" else "auto"
        return Embedder.load(config.model, device=device, dtype=dtype, max_tokens=config.max_tokens)
    if config.engine == "callable":
        return CallableTeacher(config.model, config.query_prompt)
    return ForeignTeacher(config.model, config.query_prompt, device)
