"""The LangChain adapter: LangChain's own suites, and what they do not ask."""

import asyncio
import copy
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from langchain_tests.integration_tests import EmbeddingsIntegrationTests
from langchain_tests.unit_tests import EmbeddingsUnitTests
from pydantic import ValidationError

from embedder import Embedder
from embedder.langchain import KaLMEmbeddings
from embedder.protocol import InvalidInput

TEXTS = ["bees make honey", "蜜蜂酿造蜂蜜", "", "a longer text about black holes and what falls into them"]


@pytest.fixture(scope="module")
def folder(tiny_checkpoint):
    return str(tiny_checkpoint("qwen2"))


class _OnTheTinyModel:
    @pytest.fixture(autouse=True)
    def _use(self, folder):
        type(self).folder = folder

    @property
    def embeddings_class(self):
        return KaLMEmbeddings

    @property
    def embedding_model_params(self):
        return {"model": self.folder}


class TestUnit(_OnTheTinyModel, EmbeddingsUnitTests):
    @property
    def init_from_env_params(self):
        return {"KALM_MODEL": self.folder}, {}, {"model_name": self.folder}


class TestIntegration(_OnTheTinyModel, EmbeddingsIntegrationTests):
    pass


def test_the_vectors_are_the_encoders(folder):
    encoder = Embedder.load(folder, dtype="float32")
    embeddings = KaLMEmbeddings(model=folder, dtype="float32", batch_size=3)
    assert np.allclose(embeddings.embed_documents(TEXTS), encoder.encode_documents(TEXTS), atol=1e-6)
    assert np.allclose(embeddings.embed_query(TEXTS[0]), encoder.encode_queries(TEXTS[:1])[0], atol=1e-6)
    assert embeddings.embed_documents([]) == []


def test_sides_tasks_and_instructions_are_the_callers(folder):
    encoder = Embedder.load(folder, dtype="float32", dim=8)
    plain = KaLMEmbeddings(model=folder, dtype="float32", dim=8)
    symmetric = KaLMEmbeddings(model=folder, dtype="float32", dim=8, task="STS")
    own = KaLMEmbeddings(
        model=folder, dtype="float32", dim=8, query_instruction="Find answers", document_instruction="Keep this"
    )
    assert len(plain.embed_query("honey")) == 8
    assert np.allclose(symmetric.embed_documents(TEXTS), encoder.encode_documents(TEXTS, task="STS"), atol=1e-6)
    assert np.allclose(own.embed_documents(TEXTS), encoder.encode_queries(TEXTS, instruction="Keep this"), atol=1e-6)
    assert np.allclose(
        own.embed_query("honey"), encoder.encode_queries(["honey"], instruction="Find answers")[0], atol=1e-6
    )


def test_the_namespace_tells_apart_what_must_not_be_mixed(folder):
    settings = [{}, {"dim": 8}, {"task": "STS"}, {"document_instruction": "x"}, {"max_tokens": 64}, {"dtype": "bf16"}]
    names = {KaLMEmbeddings(model=folder, **{"dtype": "float32", **each}).namespace for each in settings}
    assert len(names) == len(settings)
    assert KaLMEmbeddings(model=folder, dtype="float32", batch_size=7).namespace in names


def test_adapters_of_one_model_share_its_weights(folder):
    one, other = KaLMEmbeddings(model=folder), KaLMEmbeddings(model=folder, dim=8)
    assert one.encoder._model is other.encoder._model


def test_it_survives_pickling_and_its_settings_a_round_trip(folder):
    embeddings = KaLMEmbeddings(model=folder, dim=8)
    asyncio.run(embeddings.aembed_query("honey"))
    again = pickle.loads(pickle.dumps(embeddings))  # noqa: S301 - our own
    assert again.model_dump() == embeddings.model_dump()
    assert again.embed_query("honey") == embeddings.embed_query("honey")
    assert KaLMEmbeddings(**embeddings.model_dump()).model_dump() == embeddings.model_dump()


def test_settings_cannot_be_changed_but_copied_with_others(folder):
    embeddings = KaLMEmbeddings(model=folder)
    with pytest.raises(ValidationError, match="frozen"):
        embeddings.dim = 8
    narrow = embeddings.model_copy(update={"dim": 8})
    assert [len(each.embed_query("honey")) for each in (embeddings, narrow)] == [32, 8]
    assert copy.deepcopy(narrow).embed_query("honey") == copy.copy(narrow).embed_query("honey")
    with pytest.raises(InvalidInput, match="7 dimensions"):
        embeddings.model_copy(update={"dim": 7})
    with pytest.raises(ValidationError, match="dimm"):
        embeddings.model_copy(update={"dimm": 8})


def test_where_the_arithmetic_is_open_it_is_that_of_the_vectors_that_are_there(folder):
    embeddings = KaLMEmbeddings(model=folder)
    other = "float32" if embeddings.encoder.dtype == "bfloat16" else "bfloat16"
    made = KaLMEmbeddings(model=folder, dtype=other)
    assert embeddings.matching(made.namespace).namespace == made.namespace
    narrow = KaLMEmbeddings(model=folder, dtype=other, dim=8)
    for namespace in (embeddings.namespace, narrow.namespace, made.namespace.replace(other, "int1"), "a model", ""):
        assert embeddings.matching(namespace) is embeddings
    assert made.matching(embeddings.namespace) is made


def test_threads_get_their_own_vectors(folder):
    embeddings = KaLMEmbeddings(model=folder, dtype="float32")
    queries = [f"what is {number}" for number in range(40)]
    alone = [embeddings.embed_query(query) for query in queries]
    with ThreadPoolExecutor(8) as pool:
        assert np.allclose(list(pool.map(embeddings.embed_query, queries)), alone, atol=1e-6)


def test_asynchronous_calls_are_bounded_and_do_not_block_the_loop(folder, monkeypatch):
    embeddings = KaLMEmbeddings(model=folder, max_concurrency=2)
    running, most, guard = [0], [0], threading.Lock()
    encode = embeddings.encoder.encode_queries

    def counted(*arguments, **options):
        with guard:
            running[0] += 1
            most[0] = max(most[0], running[0])
        threading.Event().wait(0.02)
        with guard:
            running[0] -= 1
        return encode(*arguments, **options)

    monkeypatch.setattr(embeddings.encoder, "encode_queries", counted)

    async def crowd():
        beats = 0

        async def beat():
            nonlocal beats
            while True:
                await asyncio.sleep(0.001)
                beats += 1

        heart = asyncio.create_task(beat())
        vectors = await asyncio.gather(*(embeddings.aembed_query(f"{number}") for number in range(12)))
        heart.cancel()
        return beats, vectors

    beats, vectors = asyncio.run(crowd())
    assert most[0] == 2
    assert beats > 10
    assert len(vectors) == 12


def test_a_progress_bar_is_drawn_only_where_it_is_wanted(folder, capsys):
    KaLMEmbeddings(model=folder).embed_documents(TEXTS)
    assert capsys.readouterr().err == ""
    KaLMEmbeddings(model=folder, show_progress=True, batch_size=2).embed_documents(TEXTS)
    assert "4/4" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"model": "no-such-model"}, "no-such-model"),
        ({"dim": 7}, "7 dimensions"),
        ({"task": "Juggling"}, "Juggling"),
        ({"dtype": "float8"}, "float8"),
    ],
)
def test_what_cannot_be_is_said_in_one_sentence_at_once(folder, settings, words):
    from embedder.errors import AppError

    with pytest.raises(AppError, match=words) as caught:
        KaLMEmbeddings(**{"model": folder, **settings})
    assert "\n" not in str(caught.value)
