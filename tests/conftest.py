"""Shared fixtures: tiny random checkpoints, and the choice of what may be skipped."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


def skip_or_fail(reason: str) -> None:
    """Skip visibly on a person's machine; under CI a missing tool is a failure."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory) -> Callable[..., Path]:
    """Folder of a tiny random checkpoint in the sentence-transformers layout, by model type; made once each."""
    made: dict[tuple[str, tuple[int, ...]], Path] = {}

    def make(model_type: str = "qwen2", dims: tuple[int, ...] = (32, 16, 8)) -> Path:
        from tiny import tiny_backbone, tiny_tokenizer

        from embedder.checkpoint import save_checkpoint
        from embedder.prompts import instruction_for, wrap

        if (model_type, dims) not in made:
            folder = tmp_path_factory.mktemp("checkpoints") / f"tiny-{model_type}"
            prompts = {"query": wrap(instruction_for("Retrieval", "query")), "document": ""}
            save_checkpoint(
                folder, tiny_backbone(model_type), tiny_tokenizer(), dims=dims, max_tokens=128, prompts=prompts
            )
            made[model_type, dims] = folder
        return made[model_type, dims]

    return make
