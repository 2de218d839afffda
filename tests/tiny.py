"""Tiny random models and tokenizers, made on the spot."""

TINY_TEXTS = [
    "The quick brown fox jumps over the lazy dog. Bees make honey from nectar.",
    "Instruct: Given a query, retrieve documents that answer the query \n Query: what is a black hole",
    "长江是亚洲最长的河流。蜜蜂用花蜜酿造蜂蜜。检索系统把文字变成向量。",
    "Numbers 1 2 3 and symbols: {}[]() and mixed 中文 text with English words.",
]


def tiny_tokenizer():
    """A byte-level BPE tokenizer of a few hundred tokens, made on the spot."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<pad>", "<eos>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TINY_TEXTS, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<eos>")


def tiny_backbone(model_type: str, **overrides):
    """A random two- or three-layer model of a family, float32, causal as its family is published."""
    import torch
    from transformers import AutoConfig, AutoModel

    shape = {
        "vocab_size": 400,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "max_position_embeddings": 256,
        "pad_token_id": 0,
        # Large enough that one token is felt by another through three layers.
        "initializer_range": 0.2,
    }
    if model_type != "bert":
        shape |= {"num_key_value_heads": 2, "head_dim": 8, "eos_token_id": 1, "bos_token_id": 1}
    if model_type == "gemma3_text":
        shape |= {"sliding_window": 16, "layer_types": ["sliding_attention", "full_attention", "sliding_attention"]}
    torch.manual_seed(20506)
    return AutoModel.from_config(AutoConfig.for_model(model_type, **(shape | overrides))).eval()
