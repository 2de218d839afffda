import json
import re

import pytest
import torch
from tiny import TINY_TEXTS, tiny_backbone, tiny_tokenizer
from transformers import AutoModel

from embedder import AppError, Embedder
from embedder.bidirectional import make_bidirectional
from embedder.checkpoint import load_backbone, load_tokenizer, read_checkpoint, save_checkpoint
from trainer.backbones import SHAPES, keep_layers, open_backbone, random_backbone
from trainer.config import BackboneConfig

TEXTS = [*TINY_TEXTS, "honey 2023  5\t\tand\n\n亚洲", ""]


@pytest.fixture(autouse=True)
def one_core():
    """Models as tiny as these are slower on several cores, most of all where other tests use them too."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def hidden(model, ids):
    with torch.inference_mode():
        return model(input_ids=torch.as_tensor(ids).reshape(1, -1)).last_hidden_state


def opened(path, texts=TINY_TEXTS, **settings):
    return open_backbone(BackboneConfig(path=str(path), **settings), texts=lambda: iter(texts))


def save(folder, model, tokenizer):
    save_checkpoint(folder, model, tokenizer, dims=(32,), max_tokens=64, prompts={"query": "", "document": ""})
    return load_backbone(read_checkpoint(folder), torch.float32)


def write_gguf(path, *, architecture="qwen2", split="qwen2", tokens=True, left_out=""):
    """A tiny Qwen2 with its tokenizer in llama.cpp's format; the model it holds."""
    gguf = pytest.importorskip("gguf")
    model, tokenizer = tiny_backbone("qwen2", bos_token_id=None), tiny_tokenizer()
    config, backend = model.config, json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_name("Tiny")
    writer.add_license("mit")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    if tokens:
        names = sorted(backend["vocab"], key=backend["vocab"].get)
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre(split)
        writer.add_token_list(names)
        writer.add_token_types([3, 3] + [1] * (len(names) - 2))
        writer.add_token_merges([" ".join(pair) for pair in backend["merges"]])
        writer.add_eos_token_id(1)
        names_of = gguf.get_tensor_name_map(gguf.MODEL_ARCH.QWEN2, config.num_hidden_layers)
        for name, tensor in model.state_dict().items():
            translated = names_of.get_name(f"model.{name}", try_suffixes=(".weight", ".bias"))
            if name != left_out:
                writer.add_tensor(translated, tensor.numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return model


@pytest.mark.parametrize("model_type", ["qwen2", "llama", "gemma3_text", "bert"])
def test_a_folder_opens_as_the_embedder_opens_it(tiny_checkpoint, model_type):
    folder = tiny_checkpoint(model_type)
    backbone = opened(folder)
    assert backbone.name == folder.name
    assert {weight.dtype for weight in backbone.model.parameters()} == {torch.float32}
    assert not backbone.model.training
    assert model_type == "bert" or backbone.model.config.is_causal is False
    reference = load_backbone(read_checkpoint(folder), torch.float32)
    ids = backbone.tokenizer(TINY_TEXTS[0])["input_ids"]
    assert torch.equal(hidden(backbone.model, ids), hidden(reference, ids))


def test_a_plain_folder_without_padding_token_gets_one_it_has(tmp_path):
    tiny_backbone("llama", pad_token_id=None).save_pretrained(tmp_path)
    tokenizer = tiny_tokenizer()
    tokenizer.pad_token = None
    tokenizer.save_pretrained(tmp_path)
    backbone = opened(tmp_path)
    assert backbone.tokenizer.pad_token == "<eos>"
    assert len(backbone.tokenizer) == len(tokenizer)
    ids = torch.tensor([[5, 6, 7, 8]])
    changed = torch.tensor([[5, 6, 7, 9]])
    assert not torch.equal(hidden(backbone.model, ids)[0, 0], hidden(backbone.model, changed)[0, 0])


@pytest.mark.parametrize("model_type", ["qwen2", "llama", "gemma3_text", "bert"])
def test_kept_layers_are_those_and_survive_saving(tmp_path, model_type):
    whole, cut = tiny_backbone(model_type), keep_layers(tiny_backbone(model_type), (2, 1))
    assert cut.config.num_hidden_layers == 2
    for name, weight in cut.state_dict().items():
        source = re.sub(r"(layers?)\.(\d+)\.", lambda found: f"{found[1]}.{int(found[2]) + 1}.", name)
        assert torch.equal(weight, whole.state_dict()[source]), name
    if model_type == "gemma3_text":
        assert cut.config.layer_types == ["full_attention", "sliding_attention"]
    indices = [module.layer_idx for module in cut.modules() if hasattr(module, "layer_idx")]
    assert set(indices) in ({0, 1}, set())
    read = save(tmp_path, cut, tiny_tokenizer())
    ids = torch.arange(5, 45)  # longer than Gemma's window
    if model_type != "bert":
        cut = make_bidirectional(cut)
    assert torch.equal(hidden(cut, ids), hidden(read, ids))


def test_keeping_all_layers_changes_nothing():
    model = tiny_backbone("gemma3_text")
    before = hidden(model, range(5, 45))
    assert torch.equal(hidden(keep_layers(model, (0, 1, 2)), range(5, 45)), before)


@pytest.mark.parametrize(("layers", "word"), [((0, 3), "not 3"), ((-1,), "not -1"), ((1, 1), "each once"), ((), "one")])
def test_layers_that_are_not_there_are_refused(layers, word):
    with pytest.raises(AppError, match=word):
        keep_layers(tiny_backbone("qwen2"), layers)


def test_layers_and_tokens_are_cut_on_opening(tiny_checkpoint):
    backbone = opened(tiny_checkpoint("qwen2"), layers=(0, 2), vocabulary=300)
    assert backbone.model.config.num_hidden_layers == 2
    assert backbone.model.config.vocab_size == len(backbone.tokenizer) == 300
    assert backbone.notes == ("Kept 2 of 3 layers.", "Kept 300 of 400 tokens.")


def test_a_random_model_is_the_same_each_time_and_survives_saving(tmp_path):
    state = torch.get_rng_state()
    first, second = opened("random:qwen2-tiny"), opened("random:qwen2-tiny")
    assert torch.equal(torch.get_rng_state(), state)
    for name, weight in first.model.state_dict().items():
        assert torch.equal(weight, second.model.state_dict()[name])
    assert first.tokenizer.backend_tokenizer.to_str() == second.tokenizer.backend_tokenizer.to_str()
    other, _ = random_backbone(SHAPES["qwen2-tiny"], TINY_TEXTS, seed=1)
    assert not torch.equal(other.embed_tokens.weight, first.model.embed_tokens.weight)
    assert first.model.config.vocab_size == 4000 > len(first.tokenizer)
    read = save(tmp_path, first.model, first.tokenizer)
    tokenizer = load_tokenizer(tmp_path)
    assert tokenizer.backend_tokenizer.to_str() == first.tokenizer.backend_tokenizer.to_str()
    for text in TEXTS[:-1]:
        ids = first.tokenizer(text)["input_ids"]
        assert first.tokenizer.decode(ids) == text
        assert torch.equal(hidden(read, ids), hidden(first.model, ids))


def test_the_shape_of_the_paper_is_qwen2_half_a_billion():
    from transformers import Qwen2Config

    shape = SHAPES["qwen2-0.5b"]
    with torch.device("meta"):
        config = Qwen2Config(
            vocab_size=shape.table,
            hidden_size=shape.hidden,
            intermediate_size=shape.feed_forward,
            num_hidden_layers=shape.layers,
            num_attention_heads=shape.heads,
            num_key_value_heads=shape.kv_heads,
        )
        model = AutoModel.from_config(config)
    assert sum(weight.numel() for weight in model.parameters()) == 494_032_768  # as published


def test_a_gguf_file_gives_the_weights_and_the_tokens(tmp_path):
    source = write_gguf(tmp_path / "tiny.gguf")
    backbone = opened(tmp_path / "tiny.gguf")
    assert (backbone.name, backbone.licence) == ("Tiny", "mit")
    assert backbone.model.config.is_causal is False
    assert type(backbone.model) is type(source)
    for name, weight in source.state_dict().items():
        assert torch.equal(backbone.model.state_dict()[name], weight), name
    assert backbone.tokenizer.pad_token == "<eos>"  # the file names none
    assert len(backbone.tokenizer) == 400
    folder = tmp_path / "saved"
    read = save(folder, backbone.model, backbone.tokenizer)
    tokenizer = load_tokenizer(folder)
    for text in TEXTS[:-1]:
        ids = backbone.tokenizer(text)["input_ids"]
        assert tokenizer(text)["input_ids"] == ids
        assert tokenizer.decode(ids) == text
        assert torch.equal(hidden(read, ids), hidden(backbone.model, ids))
    assert Embedder.load(str(folder), dtype="float32").encode_documents(TEXTS).shape == (len(TEXTS), 32)


def test_smollm_reads_numbers_digit_by_digit(tmp_path):
    write_gguf(tmp_path / "tiny.gguf", split="smollm")
    tokenizer = opened(tmp_path / "tiny.gguf").tokenizer
    assert tokenizer.backend_tokenizer.pre_tokenizer.pre_tokenize_str("in  2023")[1:] == [
        ("ĠĠ", (2, 4)), ("2", (4, 5)), ("0", (5, 6)), ("2", (6, 7)), ("3", (7, 8)),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"architecture": "mamba", "tokens": False}, "'mamba' model; supported in GGUF files are gemma3, llama"),
        ({"tokens": False}, "has no tokenizer"),
        ({"split": "klingon"}, "splits text as 'klingon'"),
        ({"left_out": "layers.1.mlp.up_proj.weight"}, "lacks 1 tensors, the first is layers.1.mlp.up_proj.weight"),
    ],
)
def test_a_gguf_file_that_cannot_be_used_is_refused(tmp_path, settings, words):
    write_gguf(tmp_path / "bad.gguf", **settings)
    with pytest.raises(AppError, match=words) as caught:
        opened(tmp_path / "bad.gguf")
    assert "\n" not in str(caught.value)


def test_what_is_no_model_is_refused(tmp_path):
    (tmp_path / "text.gguf").write_text("not a model")
    with pytest.raises(AppError, match="not a GGUF file"):
        opened(tmp_path / "text.gguf")
    with pytest.raises(AppError, match="There is no file"):
        opened(tmp_path / "missing.gguf")
    with pytest.raises(AppError, match="There is no model"):
        opened(tmp_path / "missing")
    with pytest.raises(AppError, match="no random model 'huge'; there are qwen2-tiny"):
        opened("random:huge")
    with pytest.raises(AppError, match=r"set base\.path"):
        opened("")


def test_what_is_learnt_from_texts_needs_texts(tiny_checkpoint):
    with pytest.raises(AppError, match="give the stage data"):
        open_backbone(BackboneConfig(path="random:qwen2-tiny"), texts=None)
    with pytest.raises(AppError, match="give the stage data"):
        open_backbone(BackboneConfig(path=str(tiny_checkpoint("qwen2")), vocabulary=300), texts=None)
