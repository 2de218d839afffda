import json
import shutil
import weakref

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from tiny import tiny_backbone, tiny_tokenizer
from torch.utils._python_dispatch import TorchDispatchMode

from embedder import AppError, Embedder
from embedder.checkpoint import fingerprint, load_backbone, read_checkpoint, save_checkpoint
from trainer import soup
from trainer.config import SoupConfig
from trainer.soup import average, greedy, make_soup


@pytest.fixture(autouse=True)
def one_core():
    """Models as tiny as these are slower on several cores, most of all where other tests use them too."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def checkpoint(folder, seed, *, dtype=torch.float32, prompts=None, **overrides):
    model = tiny_backbone("qwen2", **overrides)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn(weight.shape, generator=generator) * 0.05)
    prompts = prompts or {"query": "Q: ", "document": ""}
    save_checkpoint(folder, model.to(dtype), tiny_tokenizer(), dims=(32, 16), max_tokens=64, prompts=prompts)
    return folder


@pytest.fixture
def members(tmp_path):
    return [checkpoint(tmp_path / f"run-{seed}" / "model", seed) for seed in (1, 2, 3)]


def weights_of(folder):
    return load_file(folder / "model.safetensors")


def reference(members, weights, dtype):
    tensors = [weights_of(member) for member in members]
    sums = {
        name: sum(weight * one[name].double() for weight, one in zip(weights, tensors, strict=True))
        for name in tensors[0]
    }
    return {name: (total / sum(weights)).to(dtype) for name, total in sums.items()}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("weights", [None, (2, 1, 1)])
def test_a_soup_is_the_average_rounded_once(tmp_path, dtype, weights):
    members = [checkpoint(tmp_path / str(seed), seed, dtype=dtype) for seed in (1, 2, 3)]
    average(members, tmp_path / "soup", weights)
    expected = reference(members, weights or (1, 1, 1), dtype)
    soup_weights = weights_of(tmp_path / "soup")
    assert soup_weights.keys() == expected.keys()
    for name, tensor in expected.items():
        assert soup_weights[name].dtype == dtype
        if dtype == torch.float64:
            assert (soup_weights[name] - tensor).abs().max() <= 1e-12
        else:
            assert torch.equal(soup_weights[name], tensor), name


def test_a_soup_of_one_is_that_one(members, tmp_path):
    average(members[:1], tmp_path / "soup")
    for file in ("model.safetensors", "tokenizer.json", "1_Pooling/config.json", "modules.json"):
        assert (tmp_path / "soup" / file).read_bytes() == (members[0] / file).read_bytes()


def test_a_soup_opens_and_gives_the_vectors_of_the_average(members, tmp_path):
    from sentence_transformers import SentenceTransformer

    (members[0] / "README.md").write_text("The card of one member")
    (members[0] / "optimizer.bin").write_bytes(b"state")
    out = average(members, tmp_path / "soup")
    model = load_backbone(read_checkpoint(members[0]), torch.float32)
    model.load_state_dict(reference(members, (1, 1, 1), torch.float32))
    by_hand = tmp_path / "by-hand"
    save_checkpoint(by_hand, model, tiny_tokenizer(), dims=(32, 16), max_tokens=64, prompts={"query": "Q: "})
    texts = ["bees make honey", "蜜蜂酿造蜂蜜", "a longer text of several words"]
    vectors = Embedder.load(str(out), dtype="float32").encode_documents(texts)
    assert np.array_equal(vectors, Embedder.load(str(by_hand), dtype="float32").encode_documents(texts))
    other = SentenceTransformer(str(out), device="cpu", local_files_only=True)
    assert np.abs(other.encode(texts, normalize_embeddings=True) - vectors).max() <= 1e-5
    assert not (out / "README.md").exists()
    assert not (out / "optimizer.bin").exists()


def test_the_lineage_names_the_members(members, tmp_path):
    out = average(members, tmp_path / "soup", (1, 0, 3))
    lineage = json.loads((out / "soup.json").read_text())
    assert lineage["method"] == "weighted"
    assert [member["name"] for member in lineage["members"]] == ["run-1/model", "run-2/model", "run-3/model"]
    assert [member["weight"] for member in lineage["members"]] == [0.25, 0, 0.75]
    prints = [fingerprint(read_checkpoint(member)) for member in members]
    assert [member["fingerprint"] for member in lineage["members"]] == prints
    assert str(tmp_path) not in (out / "soup.json").read_text()


def shard(folder):
    """The same checkpoint in three files with an index."""
    tensors = weights_of(folder)
    names = sorted(tensors)
    files = {f"model-0000{i + 1}-of-00003.safetensors": names[i::3] for i in range(3)}
    for file, part in files.items():
        save_file({name: tensors[name] for name in part}, folder / file, metadata={"format": "pt"})
    placed = {name: file for file, part in files.items() for name in part}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": placed}))
    (folder / "model.safetensors").unlink()


def test_members_in_shards_are_averaged_with_members_in_one_file(members, tmp_path):
    whole = weights_of(average(members, tmp_path / "whole"))
    for member in (members[0], members[2]):
        shard(member)
    out = average(members, tmp_path / "soup")
    assert len(list(out.glob("*.safetensors"))) == 3
    backbone = load_backbone(read_checkpoint(out), torch.float32)
    for name, tensor in backbone.state_dict().items():
        assert torch.equal(tensor, whole[name])
    reverse = weights_of(average(members[::-1][1:2] + [members[0]], tmp_path / "one-file"))
    assert reverse.keys() == whole.keys()


class LiveBytes(TorchDispatchMode):
    """The most bytes that sums in float64 held at once; members are mapped and only views of their files."""

    def __init__(self):
        super().__init__()
        self.live = self.most = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        if isinstance(made, torch.Tensor) and made.dtype == torch.float64:
            self.live += made.nbytes
            self.most = max(self.most, self.live)
            weakref.finalize(made, self._gone, made.nbytes)
        return made

    def _gone(self, size):
        self.live -= size


def test_no_tensor_is_ever_whole_in_memory(members, tmp_path, monkeypatch):
    expected = weights_of(average(members, tmp_path / "expected"))
    monkeypatch.setattr(soup, "_BLOCK", 256)
    with LiveBytes() as memory:
        out = average(members, tmp_path / "soup")
    table = expected["embed_tokens.weight"]
    assert 0 < memory.most < 10 * 256 * 8 < table.nbytes
    for name, tensor in weights_of(out).items():
        assert torch.equal(tensor, expected[name])


def test_whole_numbers_must_be_equal_and_scalars_are_averaged(members, tmp_path):
    for number, member in enumerate(members):
        extra = {"scale": torch.tensor(float(number)), "steps": torch.tensor([7, 7]), "none": torch.zeros(0, 3)}
        save_file(weights_of(member) | extra, member / "model.safetensors", metadata={"format": "pt"})
    soup_weights = weights_of(average(members, tmp_path / "soup"))
    assert soup_weights["scale"] == 1.0
    assert soup_weights["steps"].tolist() == [7, 7]
    assert soup_weights["none"].shape == (0, 3)
    save_file(weights_of(members[2]) | {"steps": torch.tensor([7, 8])}, members[2] / "model.safetensors")
    with pytest.raises(AppError, match="steps holds whole numbers"):
        average(members, tmp_path / "another")
    assert not (tmp_path / "another").exists()
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def scores(table):
    """A score by the first weight of a checkpoint's last norm, so that an average has one of its own."""
    calls = []

    def score(folder):
        with safe_open(folder / "model.safetensors", framework="pt") as tensors:
            value = float(tensors.get_tensor("norm.weight")[0])
        calls.append(value)
        return table(value)

    return score, calls


def with_first_weights(members, values):
    for member, value in zip(members, values, strict=True):
        tensors = weights_of(member)
        tensors["norm.weight"][0] = value
        save_file(tensors, member / "model.safetensors", metadata={"format": "pt"})


def test_greedy_keeps_the_members_that_do_not_lower_the_score(members, tmp_path):
    with_first_weights(members, (4.0, 1.0, -2.0))  # alone: the second is best, then the third, then the first
    score, calls = scores(lambda value: -abs(value - 0.1))
    out = greedy(members, tmp_path / "soup", score)
    # 1 alone scores -0.9; with -2 the average is -0.5 and scores -0.6: kept; with 4 it is 1 and scores -0.9: not kept.
    assert calls == pytest.approx([4, 1, -2, -0.5, 1])
    lineage = json.loads((out / "soup.json").read_text())
    assert [(one["name"], one["weight"]) for one in lineage["members"]] == [
        ("run-2/model", 0.5),
        ("run-3/model", 0.5),
        ("run-1/model", 0.0),
    ]
    assert [one["score"] for one in lineage["members"]] == pytest.approx([-0.9, -2.1, -3.9])
    assert [trial["kept"] for trial in lineage["trials"]] == [True, False]
    assert [trial["score"] for trial in lineage["trials"]] == pytest.approx([-0.6, -0.9])
    assert lineage["score"] == pytest.approx(-0.6)
    expected = reference([members[1], members[2]], (1, 1), torch.float32)
    for name, tensor in weights_of(out).items():
        assert torch.equal(tensor, expected[name])
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_greedy_takes_a_member_that_changes_nothing(members, tmp_path):
    out = greedy(members, tmp_path / "soup", lambda folder: 0.5)
    shares = [member["weight"] for member in json.loads((out / "soup.json").read_text())["members"]]
    assert shares == pytest.approx([1 / 3] * 3)


def test_a_score_that_is_no_number_is_refused(members, tmp_path):
    with pytest.raises(AppError, match="score of model is nan"):
        greedy(members, tmp_path / "soup", lambda folder: float("nan"))


def test_a_config_chooses_the_method(members, tmp_path):
    uniform = make_soup(SoupConfig(), members, tmp_path / "uniform")
    weighted = make_soup(SoupConfig(method="weighted", weights=(0, 0, 1)), members, tmp_path / "weighted")
    config = SoupConfig(method="greedy", evaluation="tasks")
    best = make_soup(config, members, tmp_path / "greedy", lambda folder: float("run-2" in str(folder)))
    methods = [json.loads((out / "soup.json").read_text())["method"] for out in (uniform, weighted, best)]
    assert methods == ["uniform", "weighted", "greedy"]
    assert torch.equal(weights_of(weighted)["norm.weight"], weights_of(members[2])["norm.weight"])
    assert torch.equal(weights_of(best)["norm.weight"], weights_of(members[1])["norm.weight"])
    with pytest.raises(AppError, match="chooses by a score"):
        make_soup(config, members, tmp_path / "none")


def test_an_earlier_soup_is_replaced_and_nothing_else(members, tmp_path):
    out = average(members, tmp_path / "soup")
    average(members[:2], out)
    assert len(json.loads((out / "soup.json").read_text())["members"]) == 2
    (tmp_path / "empty").mkdir()
    average(members, tmp_path / "empty")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("precious")
    with pytest.raises(AppError, match="not a soup"):
        average(members, tmp_path / "other")
    assert (tmp_path / "other" / "thesis.txt").read_text() == "precious"
    with pytest.raises(AppError, match="is a member of the soup"):
        average([out, members[0]], out)


def test_a_failure_leaves_the_earlier_soup(members, tmp_path, monkeypatch):
    out = average(members, tmp_path / "soup")
    before = fingerprint(read_checkpoint(out))

    def fail(*_):
        raise OSError("the disk is full")

    monkeypatch.setattr(soup, "write_json", fail)
    with pytest.raises(OSError, match="full"):
        average(members[:2], out)
    assert fingerprint(read_checkpoint(out)) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run-1", "run-2", "run-3", "soup"]


def rename_tensor(folder):
    tensors = weights_of(folder)
    tensors["surplus"] = tensors.pop("norm.weight")
    save_file(tensors, folder / "model.safetensors")


def change_json(file, **changes):
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (rename_tensor, "run-1/model and run-2/model cannot be averaged: only one has the tensor norm.weight"),
        (lambda folder: checkpoint(folder, 2, intermediate_size=48), r"down_proj.weight is F32 \[32, 64\] in one and"),
        (lambda folder: checkpoint(folder, 2, dtype=torch.float16), "is F32 .* in one and F16"),
        (lambda folder: change_json(folder / "config.json", rms_norm_eps=0.5), "configs differ in rms_norm_eps"),
        (lambda folder: (folder / "tokenizer.json").write_text("{}"), "tokenizers differ"),
        (lambda folder: checkpoint(folder, 2, prompts={"query": "Other: "}), "prompts differ"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"no weights"), "cannot be read as safetensors"),
        (
            lambda folder: (folder / "model.safetensors").rename(folder / "else.safetensors"),
            "neither model.safetensors",
        ),
        (lambda folder: shutil.rmtree(folder), "is not a model folder"),
    ],
)
def test_members_that_do_not_fit_are_refused(members, tmp_path, spoil, words):
    spoil(members[1])
    with pytest.raises(AppError, match=words) as caught:
        average(members, tmp_path / "soup")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "soup").exists()


@pytest.mark.parametrize(
    ("weights", "words"), [((1, 1), "2 weights for 3"), ((0, 0, 0), "not all 0"), ((1, -1, 1), "from 0")]
)
def test_weights_that_are_none_are_refused(members, tmp_path, weights, words):
    with pytest.raises(AppError, match=words):
        average(members, tmp_path / "soup", weights)


def test_a_soup_needs_members_and_each_once(members, tmp_path):
    with pytest.raises(AppError, match="needs members"):
        average([], tmp_path / "soup")
    with pytest.raises(AppError, match="named twice"):
        average([members[0], members[0]], tmp_path / "soup")


def test_a_listed_shard_that_is_missing_is_refused(members, tmp_path):
    shard(members[0])
    (members[0] / "model-00002-of-00003.safetensors").unlink()
    with pytest.raises(AppError, match="model-00002-of-00003.safetensors among its weights"):
        average(members, tmp_path / "soup")
