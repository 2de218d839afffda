"""What the nodes of a test's Ray cluster load as a model: in a module that they can import."""

import time
from dataclasses import dataclass
from pathlib import Path

from hash_encoder import HashEncoder

from embedder.errors import AppError
from indexer.records import Manifest


class SlowEncoder(HashEncoder):
    """Takes its time over every batch, so that a test can come in between."""

    def encode_documents(self, texts, *, task="Retrieval"):
        time.sleep(0.2)
        return super().encode_documents(texts, task=task)


@dataclass(frozen=True)
class HashModel:
    """Loads a stand-in on a node, and leaves a file of the node's name in a folder."""

    folder: Path
    manifest: Manifest
    kind: type[HashEncoder] = HashEncoder

    def encoder(self):
        import ray

        (self.folder / ray.get_runtime_context().get_node_id()).touch()
        return self.kind()

    def tokenizer(self):
        return HashEncoder()


@dataclass(frozen=True)
class MissingModel:
    """A model that is nowhere on the nodes."""

    manifest: Manifest

    def encoder(self):
        raise AppError("The model is not on this node; put it there.")

    def tokenizer(self):
        return HashEncoder()
