"""A folder with a task of every kind, small enough to evaluate in no time, and an encoder that solves them all."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

WORDS = "bees honey river fox dog hole sky stone".split()
KINDS = {"river": "bank", "sky": "cloud", "stone": "rock"}
COLOURS = "red blue green grey white black".split()


def write_tasks(folder):
    """Write the folder; its tasks are named after their types."""
    around = [(word, WORDS[(place + 1) % 8], WORDS[(place + 4) % 8]) for place, word in enumerate(WORDS)]
    corpus = {
        "id": [f"d{n}" for n in range(8)],
        "title": [first for first, _, _ in around],
        "text": [f"{first} {second}" for first, second, _ in around],
    }
    queries = {"id": [f"q{n}" for n in range(9)], "text": [f"{a} {b}" for a, b, _ in around] + ["nobody answers"]}
    right = {"query_id": [f"q{n}" for n in range(8)], "doc_id": corpus["id"], "score": [1] * 8}
    wrong = {"query_id": [f"q{n}" for n in range(8)], "doc_id": [f"d{(n + 4) % 8}" for n in range(8)], "score": [0] * 8}
    both = {name: right[name] + wrong[name] for name in right}
    alike = [f"{a} {b}" for a, b, _ in around]
    classes = {
        split: {
            "text": [f"{kind} {kind} {other} {colour}" for kind, other in KINDS.items() for colour in colours],
            "label": [kind for kind in KINDS for _ in colours],
        }
        for split, colours in (("train", COLOURS), ("test", COLOURS[:3]))
    }
    tables = {
        "TinyRetrieval": {"corpus": corpus, "queries": queries, "qrels": both},
        "TinyReranking": {"corpus": corpus, "queries": queries, "qrels": both},
        "TinySTS": {
            "pairs": {
                "text1": alike * 3,
                "text2": alike + [f"{a} {c}" for a, _, c in around] + [f"{c} sea" for _, _, c in around],
                "score": [5.0] * 8 + [2.5] * 8 + [0.0] * 8,
            }
        },
        "TinyPairs": {
            "pairs": {"text1": alike * 2, "text2": alike + alike[4:] + alike[:4], "label": [1] * 8 + [0] * 8}
        },
        "TinyBitext": {"pairs": {"text1": alike, "text2": [f"{text} ." for text in alike]}},
        "TinyClassification": classes,
        "TinyClustering": {"items": classes["train"]},
    }
    for name, files in tables.items():
        (folder / name).mkdir(parents=True)
        for file, columns in files.items():
            pq.write_table(pa.table(columns), folder / name / f"{file}.parquet")
    (folder / "TinyReranking" / "task.json").write_text('{"type": "reranking", "lang": "en"}')
    return folder


def word_counter():
    """An encoder for mteb that counts words; ``asked`` names the task of every call."""
    from mteb.models import ModelMeta
    from mteb.models.abs_encoder import AbsEncoder

    class WordCounter(AbsEncoder):
        def __init__(self):
            self.asked = []
            self.numbers = {}
            empty = ModelMeta.create_empty()
            self.mteb_model_meta = empty.model_copy(update={"name": "tests/words", "revision": "1"})

        def encode(self, inputs, *, task_metadata, hf_split, hf_subset, prompt_type=None, **kwargs):
            self.asked.append(task_metadata.name)
            texts = [text for batch in inputs for text in batch["text"]]
            counts = np.zeros((len(texts), 64), dtype=np.float32)
            for row, text in zip(counts, texts, strict=True):
                for word in text.split():
                    row[self.numbers.setdefault(word, len(self.numbers))] += 1
            return counts / np.linalg.norm(counts, axis=1, keepdims=True)

    return WordCounter()
