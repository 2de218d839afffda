"""Builds on a cluster from the command line, as far as they go without one; the cluster is in the indexer's tests."""

from dataclasses import replace
from unittest import mock

import numpy as np
import pytest

from app.bootstrap import Services
from app.services.encoders import Encoders, NodeModel, WrongModel
from app.settings import load_settings
from indexer.records import Manifest


@pytest.fixture
def manifest(tiny_checkpoint):
    encoder = Encoders(str(tiny_checkpoint())).default()
    made = (encoder.source, encoder.fingerprint, 16, encoder.dtype, encoder.max_tokens)
    return Manifest(*made, "chunker", "readers", "lexical", "edge")


def test_a_missing_package_is_one_sentence(cli, write):
    write(cli.folder / "shelf", **{"a.txt": "Bees make honey.\n"})
    cli("corpus", "add", "shelf", "shelf")
    with mock.patch("indexer.builds.nodes.find_spec", return_value=None):
        refusal = cli("index", "build", "shelf", "--engine", "ray").refusal
    assert refusal == "Building on a cluster needs ray; run pip install 'kalm-retrieval[ray]'."
    assert cli("jobs").out.startswith("There were no builds yet")


def test_a_detached_build_has_no_cluster(cli):
    assert "leave out --detach" in cli("index", "build", "shelf", "--engine", "ray", "--detach").refusal


def test_flags_come_before_settings(monkeypatch, tmp_path):
    monkeypatch.setenv("KALM_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("KALM_RAY_ADDRESS", "10.0.0.1:6379")
    monkeypatch.setenv("KALM_RAY_ENCODERS", "8")
    services = Services(load_settings())
    configured, asked = services.ray_cluster(None, None), services.ray_cluster("10.0.0.2:6379", 2)
    assert (configured.address, configured.encoders) == ("10.0.0.1:6379", 8)
    assert (asked.address, asked.encoders) == ("10.0.0.2:6379", 2)


def test_a_node_loads_the_model_of_the_build(manifest):
    here, there = Encoders(manifest.model).of(manifest), NodeModel(manifest)
    texts = ["Bees make honey.", "蜜蜂酿造蜂蜜。"]
    assert np.array_equal(there.encoder().encode_documents(texts), here.encode_documents(texts))
    for text in texts:
        assert np.array_equal(there.tokenizer().token_spans(text), here.token_spans(text))


def test_a_node_with_other_weights_refuses(manifest):
    with pytest.raises(WrongModel, match="other weights"):
        NodeModel(replace(manifest, fingerprint="f" * 16)).encoder()
