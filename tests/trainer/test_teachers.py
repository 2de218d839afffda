"""Teachers: who teaches which row, vectors of several widths in one tensor, and nothing encoded twice."""

import numpy as np
import pytest
import torch
from tiny import tiny_tokenizer

from embedder import Embedder
from embedder.cache import CachedEncoder, VectorCache
from embedder.errors import AppError
from embedder.prompts import instruction_for
from embedder.tokenization import TextTokenizer
from trainer import teachers as module
from trainer.collate import Collator
from trainer.config import TeacherConfig
from trainer.formats import Example, SourceInfo
from trainer.teachers import ForeignTeacher, NoTeacher, Teachers

TEMPLATE = "Instruct: {instruction} \n Query: "
TEXTS = ["bees make honey", "长江是亚洲最长的河流", "what is a black hole"]


def source(*languages, task="Retrieval"):
    return SourceInfo("s", "student's own: ", "", frozenset(languages), "contrastive", task)


def example(query, positive, negatives=(), of=None):
    return Example(1, of or source("en"), query, positive, tuple(negatives), (positive,), None, None)


@pytest.fixture(scope="module")
def wide(tiny_checkpoint):
    return Embedder.load(str(tiny_checkpoint()), device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def narrow(tiny_checkpoint):
    """Another model, and used at a smaller width."""
    return Embedder.load(str(tiny_checkpoint("qwen3")), device="cpu", dtype="float32").resized(16)


class Counting:
    """An encoder that counts the texts it is given."""

    def __init__(self, encoder):
        self.encoder = encoder
        self.texts = 0

    def __getattr__(self, name):
        return getattr(self.encoder, name)

    def resized(self, dim):
        return self

    def encode_queries(self, texts, **options):
        self.texts += len(texts)
        return self.encoder.encode_queries(texts, **options)

    def encode_documents(self, texts, **options):
        self.texts += len(texts)
        return self.encoder.encode_documents(texts, **options)


# Who teaches


def test_languages_choose_the_teacher(wide):
    teachers = Teachers([wide, wide, wide], [frozenset({"en"}), frozenset({"zh", "de"}), frozenset({"en", "zh"})])
    asked = [{"en"}, {"zh"}, {"de"}, {"en", "zh"}, {"fr"}, {"en", "fr"}, set()]
    assert [teachers.teacher_of(frozenset(languages)) for languages in asked] == [0, 1, 1, 2, -1, -1, -1]


def test_a_teacher_without_languages_teaches_all(wide):
    teachers = Teachers([wide, wide], [frozenset({"en"}), frozenset()])
    assert [teachers.teacher_of(frozenset(languages)) for languages in ({"en"}, {"fr"}, set())] == [0, 1, 1]


def test_data_that_nobody_teaches_is_refused(wide):
    teachers = Teachers([wide], [frozenset({"en"})])
    teachers.check([frozenset({"zh"}), frozenset({"en"})])
    with pytest.raises(NoTeacher, match="No teacher knows the languages of any source; name teachers"):
        teachers.check([frozenset({"zh"}), frozenset()])


# What they say


def test_teachers_of_different_widths_give_the_similarities_they_give_alone(wide, narrow):
    rows = [
        example("bees", "honey", ("stone", "river")),
        example("蜜蜂", "蜂蜜", ("文字",), source("zh")),
        example("fox", "dog", (), source("fr")),
        example("honey", "bees", ("dog",), source("en", task="STS")),
        example("文字", "向量", ("河流", "长江", "蜜蜂"), source("zh", task="STS")),
    ]
    numbers, taught = Teachers([wide, narrow], [frozenset({"en"}), frozenset({"zh"})]).teach(rows, 3)
    assert numbers.tolist() == [0, 1, -1, 0, 1]
    assert taught.shape == (5, 5, 32)
    assert taught.dtype == torch.float32
    assert not taught[2].any()
    assert not taught[numbers == 1][:, :, 16:].any()
    assert not taught[0, 4].any()  # two negatives of three
    for row, number, vectors in zip(rows, numbers.tolist(), taught.numpy(), strict=True):
        if number < 0:
            continue
        encoder = (wide, narrow)[number]
        query = encoder.encode_queries([row.query], task=row.source.task)
        documents = encoder.encode_documents([row.positive, *row.negatives], task=row.source.task)
        np.testing.assert_allclose(
            vectors[1 : 1 + len(documents)] @ vectors[0], (documents @ query.T)[:, 0], rtol=0, atol=1e-5
        )


def test_teachers_put_their_own_prompts_and_not_the_students(wide):
    _, taught = Teachers([wide], [frozenset()]).teach([example("bees", "bees")], 0)
    np.testing.assert_allclose(taught[0, 0], wide.encode_queries(["bees"])[0], atol=1e-5)
    assert float(taught[0, 0] @ taught[0, 1]) < 0.99  # the same text, prompted on one side


def test_every_teacher_gives_a_lesson_on_the_texts_it_can_read(wide, narrow):
    examples = [
        example(TEXTS[0], "wings", ["stars"]),
        example(TEXTS[1], "河", of=source("zh")),
        example(TEXTS[2], "河", of=source("en", "zh")),
    ]
    limits = TextTokenizer(tiny_tokenizer(), 12), TextTokenizer(tiny_tokenizer(), 24)
    layout = Collator(*limits, 1)(examples).layout
    teachers = Teachers([wide, narrow], [frozenset({"en"}), frozenset()])
    english, all_of_them = teachers.lessons(examples, layout)
    assert (english.teacher, all_of_them.teacher) == (0, 1)
    assert english.texts.tolist() == [0, 1, 2]
    assert sorted(all_of_them.texts.tolist()) == [0, 1, 2, 3, 4, 4, 5]
    torch.testing.assert_close(
        english.vectors[1:], torch.from_numpy(wide.encode_documents(["wings", "stars"])), atol=1e-5, rtol=0
    )
    at = all_of_them.texts.tolist().index(4)
    expected = torch.from_numpy(narrow.encode_documents(["河"]))[0]
    torch.testing.assert_close(all_of_them.vectors[at, :16], expected, atol=1e-5, rtol=0)
    assert not all_of_them.vectors[:, 16:].any()


def test_a_text_is_encoded_once_and_never_again(wide, tmp_path):
    rows = [example("bees", "honey", ("stone",)), example("bees", "stone", ("honey",)), example("fox", "dog")]
    counting = Counting(wide)
    cache = VectorCache(tmp_path / "teachers.sqlite")
    teachers = Teachers([CachedEncoder(counting, cache, queries=True)], [frozenset()])
    first = teachers.teach(rows, 1)[1]
    assert counting.texts == 2 + 3  # bees and fox, and honey, stone and dog
    torch.testing.assert_close(teachers.teach(rows, 1)[1], first, rtol=0, atol=0)
    assert counting.texts == 5
    cache.close()
    fresh = Counting(wide)
    again = VectorCache(tmp_path / "teachers.sqlite")
    resumed = Teachers([CachedEncoder(fresh, again, queries=True)], [frozenset()]).teach(rows, 1)[1]
    torch.testing.assert_close(resumed, first, rtol=0, atol=0)
    assert fresh.texts == 0
    again.close()


def test_opened_teachers_share_a_cache_that_is_not_bounded(tiny_checkpoint, tmp_path, monkeypatch):
    counted = []

    def counting(config, device):
        counted.append(Counting(Embedder.load(config.model, device=device, dtype="float32")))
        return counted[-1]

    monkeypatch.setattr(module, "_open", counting)
    bounds = []
    monkeypatch.setattr(module, "VectorCache", lambda path, bound: bounds.append(bound) or VectorCache(path, bound))
    configs = [TeacherConfig(model=str(tiny_checkpoint()), languages=("en",))]
    place = tmp_path / "new" / "teachers.sqlite"
    for wanted in (2, 0):
        Teachers.open(configs, place, "cpu").teach([example("bees", "honey"), example("河", "江", (), source("zh"))], 0)
        assert counted[-1].texts == wanted
    assert min(bounds) > 2**50
    assert place.is_file()


def test_a_teacher_reads_no_more_than_it_is_told(tiny_checkpoint, wide, tmp_path):
    long = "bees make honey " * 30
    config = TeacherConfig(model=str(tiny_checkpoint()), max_tokens=8)
    _, taught = Teachers.open([config], tmp_path / "teachers.sqlite", "cpu").teach([example(long, long)], 0)
    short = Embedder.load(str(tiny_checkpoint()), device="cpu", dtype="float32", max_tokens=8)
    np.testing.assert_allclose(taught[0, 1], short.encode_documents([long])[0], atol=1e-5)
    assert not np.allclose(taught[0, 1], wide.encode_documents([long])[0], atol=1e-3)


# Models of others


@pytest.fixture(scope="module")
def foreign(tiny_checkpoint):
    pytest.importorskip("sentence_transformers")
    return ForeignTeacher(str(tiny_checkpoint()), TEMPLATE, device="cpu")


@pytest.mark.parametrize("task", ["Retrieval", "STS", "Classification"])
def test_a_foreign_teacher_gives_the_vectors_of_our_encoder(foreign, wide, task):
    ours = wide.encode_queries(TEXTS, task=task), wide.encode_documents(TEXTS, task=task)
    theirs = foreign.encode_queries(TEXTS, task=task), foreign.encode_documents(TEXTS, task=task)
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(other, one, rtol=0, atol=1e-5)
        assert other.dtype == np.float32
    assert foreign.prompt("query", task) == wide.prompt("query", task)
    assert foreign.prompt("document", task) == wide.prompt("document", task)


def test_a_foreign_teacher_prompts_as_it_is_told(tiny_checkpoint, foreign, wide):
    other = ForeignTeacher(str(tiny_checkpoint()), "Task: {instruction} | ", device="cpu")
    assert other.prompt("query") == f"Task: {instruction_for('Retrieval', 'query')} | "
    assert other.prompt("document") == ""
    assert other.prompt("query", instruction="find it") == "Task: find it | "
    bare = ForeignTeacher(str(tiny_checkpoint()), "", device="cpu")
    assert bare.prompt("query", "STS") == ""
    np.testing.assert_allclose(bare.encode_queries(TEXTS), foreign.encode_documents(TEXTS), atol=1e-5)
    assert not np.allclose(other.encode_queries(TEXTS), foreign.encode_queries(TEXTS), atol=1e-3)
    assert foreign.fingerprint == other.fingerprint  # prompts stand beside it in the cache's keys


def test_a_foreign_teacher_says_what_it_is(foreign, wide):
    assert (foreign.dim, foreign.dims, foreign.max_tokens, foreign.dtype) == (32, (32,), 128, "float32")
    assert foreign.resized(32) is foreign
    with pytest.raises(AppError, match="is used at 32 dimensions only"):
        foreign.resized(16)
    np.testing.assert_array_equal(foreign.token_spans("bees make honey"), wide.token_spans("bees make honey"))


def test_the_weights_of_a_foreign_teacher_are_read_once(foreign, tmp_path, monkeypatch):
    before = foreign.fingerprint
    monkeypatch.setattr(foreign._model, "state_dict", lambda: pytest.fail("read again"))
    cache = VectorCache(tmp_path / "teachers.sqlite")
    CachedEncoder(foreign, cache, queries=True).encode_queries(TEXTS)
    assert foreign.fingerprint == before
    cache.close()


def test_other_weights_have_another_fingerprint(tiny_checkpoint, foreign):
    other = ForeignTeacher(str(tiny_checkpoint()), TEMPLATE, device="cpu")
    with torch.no_grad():
        next(other._model.parameters())[0, 0] += 1
    assert other.fingerprint != foreign.fingerprint


def test_an_engine_opens_its_kind(tiny_checkpoint, foreign, tmp_path):
    path = str(tiny_checkpoint())
    rows = [example("bees", "honey", ("stone",))]
    found = []
    for engine in ("kalm", "sentence-transformers"):
        config = TeacherConfig(model=path, engine=engine, query_prompt=TEMPLATE)
        found.append(Teachers.open([config], tmp_path / f"{engine}.sqlite", "cpu").teach(rows, 1)[1])
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=1e-5)


@pytest.mark.parametrize("engine", ["kalm", "sentence-transformers"])
def test_a_teacher_that_is_not_there_is_refused_in_a_sentence(engine, tmp_path):
    config = TeacherConfig(model=str(tmp_path / "nowhere"), engine=engine)
    with pytest.raises(AppError) as refused:
        Teachers.open([config], tmp_path / "teachers.sqlite", "cpu")
    assert "nowhere" in str(refused.value)
    assert "\n" not in str(refused.value)
