"""``kalm bench encode``, ``latency`` and ``machine``: what is measured is what is said."""

import json

import numpy as np
import pytest
from tiny import TINY_TEXTS

from app.benchmarks import products
from app.benchmarks.encoding import texts_of
from app.benchmarks.errors import BenchRefused
from app.benchmarks.machine import percentiles
from app.benchmarks.onnx_peer import onnx_contestants
from app.benchmarks.products import Products
from embedder import Embedder, int8
from embedder.hardware import INT8, bytes_here

TEXT = "\n".join(TINY_TEXTS) * 10


@pytest.fixture
def texts(cli, write):
    write(cli.folder / "texts", **{"a.txt": TEXT})
    return "texts"


@pytest.fixture(scope="module")
def encoder(tiny_checkpoint):
    return Embedder.load(str(tiny_checkpoint("qwen2")), dtype="float32")


def measured(done):
    assert done.code == 0, done.err
    return json.loads(done.out)


def test_encoding_is_compared_and_held_against_its_products(cli, texts, tiny_checkpoint):
    folder = str(tiny_checkpoint("qwen2"))
    sizes = ["--tokens", "1000", "--rounds", "1", "--lengths", "32"]
    found = measured(cli("bench", "encode", "--texts", texts, "--model", folder, *sizes))
    assert found["lengths"] == {"shortest": 32, "mean": 32, "longest": 32}
    assert found["texts"] * 32 == found["tokens"] >= 1000
    rates = found["tokens_per_second"]
    has_bfloat16 = bytes_here() == INT8
    assert len([name for name in rates if name.startswith("ours")]) == 1 + int8.is_available()
    assert len([name for name in rates if name.startswith("sentence-transformers")]) == 2 + has_bfloat16
    assert found["ours_over_products_alone"] == pytest.approx(
        next(iter(rates.values())) / found["products_alone_tokens_per_second"], abs=0.011
    )


def test_latency_is_measured_in_three_situations(cli, texts, tiny_checkpoint):
    folder = str(tiny_checkpoint("qwen2"))
    found = measured(cli("bench", "latency", "--texts", texts, "--model", folder, "--questions", "20"))
    assert list(found["situations"]) == ["alone", "8 at once", "beside a long list"]
    for figures in found["situations"].values():
        assert 0 < figures["p50"] <= figures["p95"] <= figures["p99"]


def test_the_machine_is_measured_in_every_arithmetic(cli, monkeypatch):
    monkeypatch.setattr(products, "_ROWS", (32, 128))  # test_bench_vectors.py measures them all
    found = measured(cli("bench", "machine", "--rounds", "1"))
    for shape in ("qwen2-0.5b", "kalm-nano"):
        assert set(found["products"][shape]) == {"32 tokens", "128 tokens"}
        for rates in found["products"][shape].values():
            assert set(rates) == {"float32", "bfloat16", "int8"}
            assert min(rates.values()) > 0
    assert found["memory_gigabytes_per_second"] > 0


def test_products_are_all_there_and_counted_once(encoder):
    weights = [
        parameter.numel()
        for name, parameter in encoder._model.backbone.named_parameters()
        if parameter.ndim == 2 and "embed" not in name
    ]
    ours = Products.of(encoder)
    assert sum(product.weight.numel() for product in ours.products) == sum(weights)
    assert len(ours.products) == 5 * 3  # queries, keys and values are one, in each of three layers
    assert ours.seconds(8) > 0


def test_texts_have_the_lengths_asked_for(encoder):
    texts, counts = texts_of([TEXT], encoder, 2000, 40)
    assert set(counts) == {40}
    assert sum(counts) >= 2000
    assert texts_of([TEXT], encoder, 2000, 40) == (texts, counts)
    _, mixed = texts_of([TEXT], encoder, 2000, None)
    assert len(set(mixed)) > 3
    with pytest.raises(BenchRefused, match="too few"):
        texts_of(["short"], encoder, 2000, 400)


def test_percentiles_are_milliseconds():
    assert percentiles([number / 1000 for number in range(1, 101)]) == {"p50": 50.5, "p95": 95.95, "p99": 99.99}


def test_a_folder_without_documents_is_named(cli):
    (cli.folder / "empty").mkdir()
    assert "no readable documents in empty" in cli("bench", "latency", "--texts", "empty").err


def test_onnx_runtime_takes_part_on_the_same_weights(tiny_checkpoint, tmp_path):
    folder = tiny_checkpoint("qwen2")
    encoder = Embedder.load(str(folder), dtype="float32")
    peers = onnx_contestants(folder, encoder.max_tokens, tmp_path)
    assert list(peers) == ["onnxruntime, float32", "onnxruntime, int8"]
    texts = [text * times for times, text in enumerate(TINY_TEXTS, start=1)]
    ours = encoder.encode_prompted(texts, "")
    for name, encode in peers.items():
        theirs = encode(texts)
        agreement = (ours * theirs).sum(axis=1) / np.linalg.norm(theirs, axis=1)
        assert agreement.min() > (0.9999 if "float32" in name else 0.97)


def test_the_served_encoder_is_held_against_the_one_in_process(cli, texts, tiny_checkpoint):
    folder = str(tiny_checkpoint("qwen2"))
    sizes = ["--clients", "3", "--seconds", "0.3", "--batch", "2"]
    found = measured(cli("bench", "rest", "--texts", texts, "--model", folder, *sizes))
    assert (found["errors"], found["first_error"]) == (0, None)
    assert found["requests"] >= 9
    rates = found["texts_per_second"]
    assert found["served_over_in_process"] == pytest.approx(rates["served"] / rates["in process"], abs=0.01)
    assert len(found["server_memory_mib"]) == 4
