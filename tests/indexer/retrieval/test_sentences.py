"""The best sentence of a passage, and how often its sentences are encoded for it."""

from dataclasses import replace

from hash_encoder import HashEncoder

from indexer.records import Manifest
from indexer.retrieval.remembered import Remembered
from indexer.retrieval.sentences import SentencePicker

MANIFEST = Manifest("m", "f", 64, "float32", 256, "c1", "r1", "l1", "edge")
HIVE = "Bees make honey in the hive. A queen lays all the eggs. 一群蜜蜂有几万只。"
SKY = "Stars are far away. The moon is near."
ONE = "There is but one sentence here."


def picked(picker, encoder, question, texts, manifest=MANIFEST):
    spans = picker.best(manifest, encoder.encode_queries([question])[0], texts)
    return [None if span is None else text[slice(*span)] for text, span in zip(texts, spans, strict=True)]


def test_the_nearest_sentence_is_picked_and_encoded_once():
    encoder = HashEncoder(dim=64)
    picker = SentencePicker(lambda manifest: encoder)
    queen, moon = "A queen lays all the eggs.", "The moon is near."
    assert picked(picker, encoder, queen, [HIVE, ONE]) == [queen, None]
    assert len(encoder.encoded) == 3
    assert picked(picker, encoder, moon, [SKY, HIVE, SKY])[::2] == [moon, moon]
    assert len(encoder.encoded) == 5
    assert picked(picker, encoder, moon, [SKY], replace(MANIFEST, fingerprint="other")) == [moon]
    assert len(encoder.encoded) == 7
    assert picked(picker, encoder, "anything", []) == []


def test_values_that_are_missing_are_made_together_and_the_oldest_are_forgotten():
    made = []
    squares = Remembered(3)

    def make(keys):
        made.append(list(keys))
        return [key * key for key in keys]

    assert squares.get_all([1, 2, 1], make) == [1, 4, 1]
    assert squares.get_all([2, 3], make) == [4, 9]
    assert squares.get_all([4], make) == [16]
    assert squares.get(2, lambda: 0) == 4
    assert squares.get(1, lambda: 7) == 7
    assert made == [[1, 2], [3], [4]]
