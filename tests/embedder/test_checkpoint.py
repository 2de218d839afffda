"""A folder is served as its authors meant it, or refused in one sentence."""

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import tiny_backbone, tiny_tokenizer

from embedder import Embedder
from embedder.bidirectional import DECODERS, ENCODERS
from embedder.checkpoint import (
    UnreadableCheckpoint,
    fingerprint,
    load_backbone,
    load_tokenizer,
    read_checkpoint,
    save_checkpoint,
)

TEXTS = ["bees make honey", "长江是亚洲最长的河流。", ""]


def print_of(folder):
    return fingerprint(read_checkpoint(folder))


def load(folder):
    return Embedder.load(str(folder), dtype="float32", device="cpu")


@pytest.mark.parametrize("family", sorted(DECODERS | ENCODERS))
def test_every_supported_family_survives_saving(family, tmp_path):
    own = {"hidden_dim": 64} if family == "distilbert" else {}
    if family in ENCODERS:
        own |= {"num_key_value_heads": None, "head_dim": None}
    original = tiny_backbone(family, **own)
    save_checkpoint(tmp_path, original, tiny_tokenizer(), dims=(32, 8), max_tokens=64, prompts={})
    loaded = load(tmp_path)
    assert (loaded.dims, loaded.max_tokens) == ((32, 8), 64)
    kept = original.state_dict()
    read = loaded._model.backbone.state_dict()
    assert read
    assert all(torch.equal(tensor, kept[key]) for key, tensor in read.items())
    vectors = loaded.encode_documents(TEXTS)
    assert np.isfinite(vectors).all()


def test_what_was_loaded_is_saved_as_it_was(folder, tmp_path, encoder):
    checkpoint = read_checkpoint(folder)
    prompts = {"query": checkpoint.prompts.prompt("query", "Retrieval"), "document": ""}
    backbone, tokenizer = load_backbone(checkpoint, torch.float32), load_tokenizer(folder)
    save_checkpoint(tmp_path / "again", backbone, tokenizer, dims=checkpoint.dims, max_tokens=128, prompts=prompts)
    again = load(tmp_path / "again")
    assert (again.dims, again.max_tokens, again.prompts) == (encoder.dims, 128, encoder.prompts)
    assert np.array_equal(again.encode_queries(TEXTS), encoder.encode_queries(TEXTS))


def change_a_weight(folder, edit_json):
    tensors = load_file(folder / "model.safetensors")
    tensors["norm.weight"][3] += 1e-3
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def change_the_tokenizer(folder, edit_json):
    values = json.loads((folder / "tokenizer.json").read_text())
    values["model"]["merges"].pop()
    (folder / "tokenizer.json").write_text(json.dumps(values))


CHANGES = {
    "a weight": change_a_weight,
    "tokenizer.json": change_the_tokenizer,
    "tokenizer_config.json": lambda folder, edit_json: edit_json(folder / "tokenizer_config.json", do_lower_case=True),
    "prompts": lambda folder, edit_json: edit_json(
        folder / "config_sentence_transformers.json", prompts={"query": "query: "}
    ),
    "rms_norm_eps": lambda folder, edit_json: edit_json(folder / "config.json", rms_norm_eps=1e-3),
    "model_type": lambda folder, edit_json: edit_json(folder / "config.json", model_type="qwen3"),
    "dims": lambda folder, edit_json: edit_json(folder / "config.json", matryoshka_dimensions=[32, 4]),
}


@pytest.mark.parametrize("what", CHANGES)
def test_the_fingerprint_changes_with(folder, edit_json, what):
    before = print_of(folder)
    CHANGES[what](folder, edit_json)
    assert print_of(folder) != before


def test_the_fingerprint_is_sixteen_hex_digits_and_stays(folder, edit_json):
    before = print_of(folder)
    assert len(bytes.fromhex(before)) == 8
    edit_json(folder / "config.json", transformers_version="5.99.0", architectures=["Other"], use_cache=False)
    (folder / "README.md").write_text("A better description.")
    assert print_of(folder) == before
    assert print_of(folder.rename(folder.with_name("another name"))) == before


def test_the_tokenizers_settings_count_in_the_fingerprint(minilm, minilm_folder, tmp_path, edit_json):
    """BERT's lower casing stands in tokenizer_config.json and overrides tokenizer.json."""
    shutil.copytree(minilm_folder, tmp_path / "cased")
    edit_json(tmp_path / "cased" / "tokenizer_config.json", do_lower_case=False)
    cased = load(tmp_path / "cased")
    assert not np.array_equal(cased.encode_documents(["Honey"]), minilm.encode_documents(["Honey"]))
    assert cased.fingerprint != minilm.fingerprint


def remove(*names):
    def change(folder, edit_json):
        for name in names:
            (folder / name).unlink()

    return change


def write(name, content):
    def change(folder, edit_json):
        (folder / name).write_text(content)

    return change


def config(**changes):
    return lambda folder, edit_json: edit_json(folder / "config.json", **changes)


def only_a_pickle(folder, edit_json):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def dense_head(folder, edit_json):
    modules = json.loads((folder / "modules.json").read_text())
    modules.append({"idx": 3, "name": "3", "path": "3_Dense", "type": "sentence_transformers.models.Dense"})
    (folder / "modules.json").write_text(json.dumps(modules))


def cut_weights(folder, edit_json):
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])


def delete_a_tensor(folder, edit_json):
    tensors = load_file(folder / "model.safetensors")
    del tensors["layers.1.mlp.up_proj.weight"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


SPOILED = {
    "no config": (remove("config.json"), ["no config.json"]),
    "unsupported type": (config(model_type="t5"), ["'t5'", "qwen2", "bert"]),
    "no type": (config(model_type=None), ["supported are"]),
    "only a pickle": (only_a_pickle, ["no .safetensors", "can run code"]),
    "dense head": (dense_head, ["Dense"]),
    "cls pooling": (write("1_Pooling/config.json", '{"pooling_mode_cls_token": true}'), ["pool by the mean"]),
    "cls pooling, new key": (write("1_Pooling/config.json", '{"pooling_mode": "cls"}'), ["pool by the mean"]),
    "two poolings": (
        write("1_Pooling/config.json", '{"pooling_mode_mean_tokens": true, "pooling_mode_max_tokens": true}'),
        ["pool by the mean"],
    ),
    "prompt left out of the mean": (
        write("1_Pooling/config.json", '{"pooling_mode_mean_tokens": true, "include_prompt": false}'),
        ["pool by the mean"],
    ),
    "weights are garbage": (write("model.safetensors", "garbage" * 100), ["weights", "cannot be read"]),
    "weights are empty": (write("model.safetensors", ""), ["weights", "cannot be read"]),
    "weights are cut": (cut_weights, ["weights", "cannot be read"]),
    "missing tensor": (delete_a_tensor, ["missing", "layers.1.mlp.up_proj.weight"]),
    "tensors of another shape": (config(intermediate_size=48), ["another shape", "layers.0.mlp."]),
    "no fast tokenizer": (remove("tokenizer.json"), ["tokenizer.json"]),
    "no tokenizer": (remove("tokenizer.json", "tokenizer_config.json"), ["tokenizer.json"]),
    "broken tokenizer": (write("tokenizer.json", "{"), ["tokenizer"]),
    "not a tokenizer": (write("tokenizer.json", "{}"), ["tokenizer"]),
    "broken config": (write("config.json", '{"model_type": '), ["config.json cannot be read"]),
    "config is a list": (write("config.json", "[]"), ["config.json"]),
    "config without a width": (config(hidden_size=None), ["hidden_size"]),
    "config that its class refuses": (config(layer_types=["unheard of"]), ["cannot be read"]),
    "broken modules": (write("modules.json", "[{"), ["modules.json cannot be read"]),
    "broken prompts": (write("config_sentence_transformers.json", "prompts"), ["cannot be read"]),
    "bytes that are no text": (
        lambda folder, edit_json: (folder / "config.json").write_bytes(b"\xff\xfe\x00"),
        ["config.json cannot be read"],
    ),
}


@pytest.mark.parametrize("what", SPOILED)
def test_a_spoiled_folder_is_refused_in_one_sentence(folder, edit_json, refused, what):
    spoil, words = SPOILED[what]
    spoil(folder, edit_json)
    with refused(UnreadableCheckpoint, str(folder), *words):
        load(folder)


def test_code_beside_the_weights_is_never_run(folder, edit_json, encoder):
    """The published KaLM folders bring their own modeling.py: the stock class is used."""
    marker = folder.parent / "it ran"
    (folder / "modeling.py").write_text(f"open({str(marker)!r}, 'w').close()\nclass Model: ...\nclass Config: ...\n")
    edit_json(folder / "config.json", auto_map={"AutoModel": "modeling.Model", "AutoConfig": "modeling.Config"})
    edit_json(folder / "tokenizer_config.json", auto_map={"AutoTokenizer": [None, "modeling.Model"]})
    loaded = load(folder)
    assert type(loaded._model.backbone).__module__.startswith("transformers.models.qwen2.")
    assert np.array_equal(loaded.encode_documents(TEXTS), encoder.encode_documents(TEXTS))
    assert not marker.exists()


def test_a_plain_transformers_folder_needs_no_other_file(folder):
    for name in ("modules.json", "sentence_bert_config.json", "config_sentence_transformers.json"):
        (folder / name).unlink()
    shutil.rmtree(folder / "1_Pooling")
    checkpoint = read_checkpoint(folder)
    assert (checkpoint.max_tokens, checkpoint.positions, checkpoint.dims) == (None, 256, (32, 16, 8))


def test_weights_in_several_files_are_read(tmp_path, encoder, folder):
    tiny_backbone("qwen2").save_pretrained(tmp_path, max_shard_size="30KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    tiny_tokenizer().save_pretrained(tmp_path)
    assert np.array_equal(load(tmp_path).encode_documents(TEXTS), encoder.encode_documents(TEXTS))
