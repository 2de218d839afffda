"""The teachers of a distillation (KaLM-V2.5): models whose similarities the student learns.

A teacher is anything ``Embedder.load`` opens, or, for models that pool otherwise than by the mean (Qwen3-Embedding,
the teacher of V2.5), anything sentence-transformers opens. Its vectors go through the content-addressed cache, so that
a text is encoded once however many epochs, runs and students there are; with a cache filled before, no teacher runs.
"""

import hashlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from embedder import Embedder
from embedder.cache import CachedEncoder, VectorCache
from embedder.errors import AppError
from embedder.hardware import pick_device
from embedder.prompts import instruction_for
from embedder.protocol import InvalidInput, Side, TextEncoder, TokenSpans, Vectors
from trainer.config import TeacherConfig
from trainer.formats import Example

_CACHE_BYTES = 2**60
"""No bound: were vectors dropped, the teacher would encode them again every epoch."""


class NoTeacher(AppError):
    """A distillation whose rows nobody teaches."""


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
        return Embedder.load(config.model, device=device, dtype=dtype)
    return ForeignTeacher(config.model, config.query_prompt, device)


class ForeignTeacher:
    """A model that sentence-transformers opens, as a text encoder: at one width, queries prompted as it wants."""

    languages: frozenset[str] | None = None

    def __init__(self, model: str, query_prompt: str, device: str = "auto") -> None:
        """Open it.

        Args:
            model: A folder or a hub id.
            query_prompt: Put before queries, ``{instruction}`` standing for the task's.
            device: ``auto`` or one torch knows.

        Raises:
            NoTeacher: If sentence-transformers is not installed or cannot open the model.
        """
        try:
            from sentence_transformers import SentenceTransformer
        except ImportError as error:
            raise NoTeacher(
                f"The teacher {model} needs sentence-transformers; run pip install sentence-transformers."
            ) from error
        try:
            self._model = SentenceTransformer(model, device=None if device == "auto" else device)
        except (OSError, ValueError) as error:
            raise NoTeacher(f"The teacher {model} cannot be opened; name a folder or a hub id that can.") from error
        self._query_prompt = query_prompt
        self.name = self.source = model
        self.dim = int(self._model.get_embedding_dimension() or 0)
        self.dims = (self.dim,)
        self.dtype = str(self._model.dtype).removeprefix("torch.")
        self.max_tokens = int(self._model.max_seq_length or 0)

    @cached_property
    def fingerprint(self) -> str:
        """Of its name and its weights; reading them takes a while, and it is asked for with every text."""
        digest = hashlib.blake2b(self.name.encode(), digest_size=8)
        for name, value in self._model.state_dict().items():
            digest.update(f"{name} {value.double().sum().item():.17g}".encode())
        return digest.hexdigest()

    def resized(self, dim: int) -> "ForeignTeacher":
        """Itself: it has one width."""
        if dim != self.dim:
            raise InvalidInput(f"{self.name} is used at {self.dim} dimensions only.")
        return self

    def prompt(self, side: Side, task: str = "Retrieval", instruction: str | None = None) -> str:
        """What is put before a text; symmetric tasks prompt both sides."""
        wanted = instruction or instruction_for(task, side)
        return self._query_prompt.replace("{instruction}", wanted) if wanted else ""

    def token_spans(self, text: str) -> TokenSpans:
        """Character offsets of every token of a text."""
        encoded = self._model.tokenizer(text, return_offsets_mapping=True, add_special_tokens=False)
        return np.asarray(encoded["offset_mapping"], dtype=np.int64).reshape(-1, 2)

    def encode_queries(
        self, texts: Sequence[str], *, task: str = "Retrieval", instruction: str | None = None
    ) -> Vectors:
        """Unit vectors ``(N, dim)`` of queries."""
        return self._encode(texts, self.prompt("query", task, instruction))

    def encode_documents(self, texts: Sequence[str], *, task: str = "Retrieval") -> Vectors:
        """Unit vectors ``(N, dim)`` of documents."""
        return self._encode(texts, self.prompt("document", task))

    def _encode(self, texts: Sequence[str], prompt: str) -> Vectors:
        vectors = self._model.encode(
            list(texts), prompt=prompt, normalize_embeddings=True, show_progress_bar=False, convert_to_numpy=True
        )
        return np.asarray(vectors, dtype=np.float32)
