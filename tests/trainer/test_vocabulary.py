import json

import numpy as np
import pytest
import torch
from tiny import TINY_TEXTS, tiny_backbone
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from embedder import AppError, Embedder
from embedder.checkpoint import load_tokenizer, save_checkpoint
from trainer.vocabulary import prune_vocabulary

SEEN = [
    *TINY_TEXTS,
    "the lazy dog jumps over the quick brown fox, the quick fox jumps over the lazy dog",
    "检索系统把文字变成向量,蜜蜂用花蜜酿造蜂蜜。",
]
UNSEEN = ["retrieving honeycombs from hives", "亚洲的系统酿造文字", "ancestors and numbers: 2 and 3"]
STRANGE = [
    "def f(x):\n\tif x:\n\t\treturn [1,   2]\n\n\n    # end\r\n",
    "👩‍👩‍👧‍👦 🏳️‍🌈 and é, e\u0301, ﬁ",
    "ᠮᠣᠩ ሰላም 𓀀 नमस्ते สวัสดี 𠮷野家",
    "   spaces   before, after   ",
    "\x00\x01\x7f\u200b",
    "<unused1> <s> as text",
    "",
]
SPECIAL = ["<pad>", "<s>", "</s>", "<unk>", "<unused0>", "<unused1>"]
NAMED = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}


def byte_level():
    """As Qwen2 and SmolLM: bytes as letters; special tokens are numbered after the vocabulary."""
    backend = Tokenizer(models.BPE())
    backend.normalizer = normalizers.NFC()
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    backend.train_from_iterator(
        SEEN + UNSEEN, trainers.BpeTrainer(vocab_size=700, initial_alphabet=alphabet, show_progress=False)
    )
    backend.add_special_tokens([AddedToken(token, normalized=False) for token in SPECIAL])
    return around(backend)


def sentencepiece():
    """As Gemma: no pre-tokenizer to speak of, spaces as U+2581, bytes for what is not in the vocabulary."""
    backend = Tokenizer(models.BPE())
    backend.normalizer = normalizers.Replace(" ", "▁")
    backend.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")  # for learning only
    special = [*SPECIAL, *(f"<0x{byte:02X}>" for byte in range(256))]
    backend.train_from_iterator(
        SEEN + UNSEEN, trainers.BpeTrainer(vocab_size=900, special_tokens=special, show_progress=False)
    )
    source = json.loads(backend.to_str())
    source["model"] |= {"byte_fallback": True, "unk_token": "<unk>", "fuse_unk": True}
    source["pre_tokenizer"] = None
    source["added_tokens"] = [token for token in source["added_tokens"] if not token["content"].startswith("<0x")]
    backend = Tokenizer.from_str(json.dumps(source))
    backend.add_tokens([AddedToken("\n\n", normalized=False, special=False)])
    backend.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    return around(backend)


def unigram():
    backend = Tokenizer(models.Unigram())
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never", split=False)
    backend.decoder = decoders.Metaspace(prepend_scheme="never", split=False)
    backend.train_from_iterator(
        SEEN * 3 + UNSEEN,
        trainers.UnigramTrainer(vocab_size=400, special_tokens=SPECIAL, unk_token="<unk>", show_progress=False),
    )
    return around(backend)


def wordpiece():
    backend = Tokenizer(models.WordPiece(unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece()
    backend.train_from_iterator(
        SEEN + UNSEEN, trainers.WordPieceTrainer(vocab_size=500, special_tokens=SPECIAL, show_progress=False)
    )
    return around(backend)


def around(backend):
    """With a beginning and an end that the post processor adds, by number."""
    begin, end = backend.token_to_id("<s>"), backend.token_to_id("</s>")
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> $B </s>", special_tokens=[("<s>", begin), ("</s>", end)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=backend, model_max_length=100, **NAMED)


KINDS = {"byte_level": (byte_level, 380), "sentencepiece": (sentencepiece, 460)}
KINDS |= {"unigram": (unigram, 105), "wordpiece": (wordpiece, 165)}


@pytest.fixture(autouse=True)
def one_core():
    """Models as tiny as these are slower on several cores, most of all where other tests use them too."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(params=KINDS)
def whole(request):
    """A tokenizer, a model with some more rows than it has tokens, and a size to cut both to."""
    make, size = KINDS[request.param]
    tokenizer = make()
    pad, end = tokenizer.pad_token_id, tokenizer.eos_token_id
    rows = len(tokenizer) + 9
    model = tiny_backbone("qwen2", vocab_size=rows, pad_token_id=pad, eos_token_id=end, bos_token_id=None)
    return model, tokenizer, size


def hidden(model, tokenizer, text):
    ids = torch.tensor([tokenizer(text)["input_ids"]])
    with torch.inference_mode():
        return model(input_ids=ids).last_hidden_state


def tokens_of(tokenizer, text):
    return tokenizer.backend_tokenizer.encode(text).tokens


def test_a_text_of_kept_tokens_is_read_as_before(whole):
    model, tokenizer, size = whole
    texts = [*SEEN, *UNSEEN, *(word for text in SEEN[:2] for word in text.split())]
    before = {text: (tokens_of(tokenizer, text), hidden(model, tokenizer, text)) for text in texts}
    model, smaller = prune_vocabulary(model, tokenizer, SEEN, size)
    vocabulary = smaller.get_vocab()
    kept = [text for text, (tokens, _) in before.items() if vocabulary.keys() >= set(tokens)]
    assert 10 < len(kept) < len(before)
    for text in kept:
        tokens, states = before[text]
        assert tokens_of(smaller, text) == tokens
        assert torch.equal(hidden(model, smaller, text), states)


def test_every_other_text_is_still_read_and_comes_back(whole):
    model, tokenizer, size = whole
    _, smaller = prune_vocabulary(model, tokenizer, SEEN, size)
    longer = 0
    for text in [*SEEN, *UNSEEN, *STRANGE]:
        before, after = (one.backend_tokenizer.encode(text) for one in (tokenizer, smaller))
        decoded = [one.backend_tokenizer.decode(e.ids) for one, e in ((tokenizer, before), (smaller, after))]
        if "<unused" not in text:  # a placeholder was one token and is now the text it looks like
            assert decoded[0] == decoded[1]
            assert after.tokens.count("<unk>") == before.tokens.count("<unk>")
        longer += len(after.ids) > len(before.ids)
    assert longer


@pytest.mark.parametrize("make", [byte_level, sentencepiece])
def test_tokenizers_of_bytes_give_every_text_back(make):
    tokenizer = make()
    model = tiny_backbone("qwen2", vocab_size=len(tokenizer))
    _, smaller = prune_vocabulary(model, tokenizer, [], 280)
    backend = smaller.backend_tokenizer
    for text in [*SEEN, *STRANGE[2:]]:
        encoded = backend.encode(text)
        assert backend.decode(encoded.ids, skip_special_tokens=False) == f"<s>{text}</s>"


def test_the_numbers_fit_the_rows(whole):
    model, tokenizer, size = whole
    table = model.get_input_embeddings().weight.detach().clone()
    old = tokenizer.get_vocab()
    same, smaller = prune_vocabulary(model, tokenizer, SEEN, size)
    assert same is model
    assert len(smaller) == model.config.vocab_size == size
    assert sorted(smaller.get_vocab().values()) == list(range(size))
    rows = model.get_input_embeddings()
    for token, number in smaller.get_vocab().items():
        assert torch.equal(rows.weight[number], table[old[token]])
    assert rows.num_embeddings == size
    assert rows.padding_idx == model.config.pad_token_id == smaller.pad_token_id == smaller.get_vocab()["<pad>"]
    assert model.config.eos_token_id == smaller.eos_token_id
    assert smaller.special_tokens_map == NAMED
    ids = smaller("honey")["input_ids"]
    assert (ids[0], ids[-1]) == (smaller.bos_token_id, smaller.eos_token_id)
    assert "<unused0>" not in smaller.get_vocab()
    assert smaller.model_max_length == 100
    assert len(tokenizer) == len(old)  # as it was


def test_the_most_frequent_tokens_stay():
    tokenizer = byte_level()
    model = tiny_backbone("qwen2", vocab_size=len(tokenizer))
    _, smaller = prune_vocabulary(model, tokenizer, ["honey honey honey"] * 9 + ["检索系统"], 275)
    assert tokens_of(smaller, "honey honey")[1:-1] == tokens_of(tokenizer, "honey honey")[1:-1]
    assert len(tokens_of(smaller, "The quick brown fox")) > len(tokens_of(tokenizer, "The quick brown fox"))


def test_an_added_token_that_is_left_out_is_read_as_text():
    tokenizer = sentencepiece()
    model = tiny_backbone("qwen2", vocab_size=len(tokenizer))
    _, without = prune_vocabulary(model, tokenizer, [], 300)
    assert "\n\n" not in without.get_vocab()
    assert without.backend_tokenizer.decode(without("a\n\nb")["input_ids"]) == "a\n\nb"
    model = tiny_backbone("qwen2", vocab_size=len(tokenizer))
    _, with_it = prune_vocabulary(model, tokenizer, ["a\n\nb"] * 9, 300)
    assert "\n\n" in tokens_of(with_it, "a\n\nb")


def test_words_that_are_looked_up_before_merging_need_no_merges():
    source = json.loads(byte_level().backend_tokenizer.to_str())
    source["model"]["ignore_merges"] = True
    number = source["model"]["vocab"].pop("ing", None) or source["model"]["vocab"].pop("er")
    source["model"]["vocab"]["zzz"] = number
    source["model"]["merges"] = [
        pair for pair in source["model"]["merges"] if "".join(pair) in source["model"]["vocab"]
    ]
    source["model"]["merges"] = [
        pair for pair in source["model"]["merges"] if set(pair) <= source["model"]["vocab"].keys()
    ]
    tokenizer = around(Tokenizer.from_str(json.dumps(source)))
    assert "zzz" in tokens_of(tokenizer, "zzz")
    model = tiny_backbone("qwen2", vocab_size=len(tokenizer))
    _, smaller = prune_vocabulary(model, tokenizer, ["zzz"] * 5, 300)
    assert tokens_of(smaller, "zzz") == ["<s>", "zzz", "</s>"]


@pytest.mark.parametrize("model_type", ["llama", "gemma3_text", "qwen2"])
def test_a_saved_model_gives_the_vectors_of_the_one_in_memory(tmp_path, model_type):
    from sentence_transformers import SentenceTransformer

    from trainer.backbones import SHAPES, random_backbone

    tokenizer = sentencepiece() if model_type == "gemma3_text" else byte_level()
    model = tiny_backbone(model_type, vocab_size=len(tokenizer))
    if model_type == "qwen2":  # transformers splits the text of any Qwen2 folder as Qwen2 does
        model, tokenizer = random_backbone(SHAPES["qwen2-tiny"], SEEN)
    model, smaller = prune_vocabulary(model, tokenizer, SEEN, 400)
    save_checkpoint(tmp_path, model, smaller, dims=(32, 16), max_tokens=256, prompts={"query": "Q: ", "document": ""})
    read = load_tokenizer(tmp_path)
    for text in [*SEEN, *UNSEEN, *STRANGE]:
        assert read(text)["input_ids"] == smaller(text)["input_ids"]
    texts = [*SEEN, *UNSEEN, *STRANGE[:-1]]
    encoder = Embedder.load(str(tmp_path), dtype="float32", device="cpu")
    vectors = encoder.encode_documents(texts)
    other = SentenceTransformer(str(tmp_path), device="cpu", local_files_only=True)
    assert np.abs(other.encode(texts, prompt="", normalize_embeddings=True) - vectors).max() <= 1e-5
    states = [hidden(model, smaller, text)[0].mean(0) for text in texts]
    expected = torch.nn.functional.normalize(torch.stack(states), dim=-1).numpy()
    assert np.abs(vectors - expected).max() <= 1e-5


def test_too_few_tokens_are_refused():
    tokenizer = byte_level()
    model = tiny_backbone("qwen2", vocab_size=len(tokenizer))
    with pytest.raises(AppError, match="100 tokens are too few: 26[0-9] of this tokenizer"):
        prune_vocabulary(model, tokenizer, SEEN, 100)
    assert model.config.vocab_size == len(tokenizer)


def test_a_tokenizer_of_whole_words_is_refused():
    backend = Tokenizer(models.WordLevel({"<unk>": 0, "bee": 1}, unk_token="<unk>"))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>")
    with pytest.raises(AppError, match="WordLevel"):
        prune_vocabulary(tiny_backbone("qwen2"), tokenizer, SEEN, 2)
