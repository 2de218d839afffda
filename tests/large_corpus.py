"""A corpus of many passages made quickly: sentences of the samples in new order, most vectors near measured ones.

Encoding a hundred thousand passages takes hours on two cores, and how long a search takes does not depend on what
the vectors mean. So the first passages are encoded, and each further one gets the vector of one of them with a
little noise; every passage still has text, words and a place of its own, and goes through the whole pipeline.
"""

import json
import random
import re
from pathlib import Path
from unittest import mock

import numpy as np

from app.bootstrap import Services
from app.settings import Settings
from embedder.encoder import Embedder

SAMPLES = Path(__file__).parents[1] / "samples"
ENCODED = 500
ABOUT = (
    f"sentences of the samples in random order; vectors of the first {ENCODED} passages by the model, of the others "
    "copies of those with noise"
)
_NOISE = 0.5
"""Length of what is added to a unit vector: copies have a cosine of about 0.9 with their original."""

_SENTENCES = 6
_PASSAGES = 4
"""Of a document; each is a section, so that it is one passage."""


def build_large(data: Path, passages: int, seed: int, name: str = "large") -> None:
    """Make a corpus of about so many passages and build its index, in this process."""
    folder = data / "large-documents"
    folder.mkdir(parents=True)
    draw = random.Random(seed)
    sentences = list(_sentences())
    for part in range(0, passages // _PASSAGES, 1_000):
        rows = (_row(draw, sentences, number) for number in range(part, min(part + 1_000, passages // _PASSAGES)))
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (folder / f"part-{part:06}.jsonl").write_text(lines, encoding="utf-8")
    services = Services(Settings(data_dir=data))
    try:
        with mock.patch.object(Embedder, "encode_documents", _Copies(seed, Embedder.encode_documents).bound()):
            services.corpora.add(name, folder)
            services.indexing.build(name)
    finally:
        services.close()


def _sentences():
    for path in sorted(SAMPLES.rglob("*")):
        if path.suffix == ".md":
            text = re.sub(r"[#*>`|]", " ", path.read_text(encoding="utf-8"))
            language = "zh" if "zh" in path.relative_to(SAMPLES).parts[0] else "en"
            for sentence in re.split(r"(?<=[.!?])\s+|(?<=[。！？])", text):
                if 20 < len(sentence := " ".join(sentence.split())) < 300:
                    yield language, sentence


def _row(draw, sentences, number):
    language = draw.choice(("en", "en", "en", "zh"))
    own = [sentence for one, sentence in draw.choices(sentences, k=_SENTENCES * _PASSAGES * 4) if one == language]
    size = max(2, len(own) // _PASSAGES)
    sections = [" ".join(own[at : at + size]) for at in range(0, size * _PASSAGES, size)]
    words = own[0].split() if language == "en" else [own[0][:12]]
    return {"id": f"d{number}", "title": f"{' '.join(words[:6])} ({number})", "text": "\n\n".join(sections)}


class _Copies:
    """In place of encoding: what the model gives for the first texts, near it for the others."""

    def __init__(self, seed, encode):
        self._encode = encode
        self._draw = np.random.default_rng(seed)
        self._known = None

    def bound(self):
        """As a method of an embedder."""
        return lambda embedder, texts, **options: self(embedder, texts, **options)

    def __call__(self, embedder, texts, **options):
        if self._known is None or len(self._known) < ENCODED:
            taken = texts[:ENCODED]
            fresh = self._encode(embedder, taken, **options)
            self._known = fresh if self._known is None else np.concatenate([self._known, fresh])
            rest = len(texts) - len(taken)
            return np.concatenate([fresh, self._near(rest)]) if rest else fresh
        return self._near(len(texts))

    def _near(self, count):
        copies = self._known[self._draw.integers(len(self._known), size=count)]
        noise = self._draw.standard_normal(copies.shape, dtype=np.float32) / np.sqrt(copies.shape[1])
        moved = copies + _NOISE * noise
        return (moved / np.linalg.norm(moved, axis=1, keepdims=True)).astype(np.float32)
