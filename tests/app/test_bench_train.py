"""``kalm bench train``: both sides do the same work, in processes of their own."""

import json

import pytest
from conftest import skip_or_fail
from tiny import TINY_TEXTS, tiny_tokenizer

SIZES = ["--shape", "tiny", "--queries", "4", "--tokens", "16", "--rounds", "1"]


@pytest.fixture
def tokenizer():
    from embedder.tokenization import TextTokenizer

    return TextTokenizer(tiny_tokenizer(), 16)


def test_both_sides_train_on_the_same_tokens_from_the_same_weights(cli, write):
    try:
        import sentence_transformers  # noqa: F401
    except ImportError:
        skip_or_fail("sentence-transformers is not installed")
    write(cli.folder / "texts", **{"a.txt": "\n".join(TINY_TEXTS) * 20})
    done = cli("bench", "train", *SIZES, "--texts", "texts", "--batches", "2")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert str(cli.folder) not in done.out
    assert (found["queries"], found["texts"], found["tokens"]) == (4, 36, 36 * 16)
    assert found["lengths"] == {"kind": "equal", "shortest": 16, "mean": 16, "longest": 16}
    ours, peer = (found["contestants"][name] for name in ("ours", "sentence-transformers"))
    assert ours["tokens"] == peer["tokens"] == 36 * 16
    assert ours["first_loss"] == pytest.approx(peer["first_loss"], rel=0.02)
    for side in (ours, peer):
        assert side["tokens_per_second"] > 0
        assert side["peak_memory_mib"] >= side["baseline_memory_mib"] > 100
    assert found["ratio"] == round(ours["tokens_per_second"] / peer["tokens_per_second"], 2)
    assert [tried["mini_batch_size"] for tried in peer["tried_settings"]] == [4]
    assert set(found["memory_by_queries"]) == {"ours"}
    assert set(found["memory_by_queries"]["ours"]) == {"2"}
    assert found["machine"]["cores"] > 0
    assert found["contestants_loaded"] == "together"


def test_contestants_that_do_not_fit_together_are_loaded_one_at_a_time(cli, write, monkeypatch):
    import app.benchmarks.contestants as contestants

    pytest.importorskip("sentence_transformers")
    alive, most = [], []
    real = contestants.subprocess.Popen

    def watched(*arguments, **options):
        process = real(*arguments, **options)
        alive.append(process)
        most.append(sum(each.poll() is None for each in alive))
        return process

    monkeypatch.setattr(contestants.subprocess, "Popen", watched)
    write(cli.folder / "texts", **{"a.txt": "\n".join(TINY_TEXTS) * 20})
    done = cli("bench", "train", *SIZES, "--texts", "texts", "--apart")
    assert done.code == 0, done.err
    assert max(most) == 1
    assert len(most) == 3  # the peer's choice of a mini-batch, and a round of each
    found = json.loads(done.out)
    assert found["contestants_loaded"] == "one at a time"
    assert {len(side["rounds"]) for side in found["contestants"].values()} == {1}


@pytest.mark.parametrize(("lengths", "shortest"), [("equal", 16), ("mixed", 8)])
def test_texts_differ_and_have_the_lengths_asked_for(tokenizer, monkeypatch, lengths, shortest):
    from app.benchmarks import training

    monkeypatch.setattr(training, "_SHORTEST", 8)
    passages = ["\n".join(TINY_TEXTS)]
    texts, counts = training.draw_texts(passages, tokenizer, 40, 16, lengths)
    assert len(set(texts)) == len(counts) == 40
    assert counts == [len(row.ids) for row in tokenizer.tokenize(texts)]
    assert (max(counts), min(counts) >= 16) == (16, lengths == "equal")
    assert min(counts) >= shortest - 2  # tokens at a cut can merge
    assert training.draw_texts(passages, tokenizer, 40, 16, lengths) == (texts, counts)


def test_mini_batches_of_the_peer_fit_the_step():
    from app.benchmarks.training import TrainingBench

    def tried(queries, tokens):
        settings = TrainingBench("small", queries, tokens).mini_batches()
        return [(each["mini_batch_size"], each["mini_batch_num_tokens"]) for each in settings]

    assert tried(16, 64) == [(8, None), (16, None)]
    assert tried(512, 128) == [(8, None), (16, None), (32, None), (64, None), (64, 2048)]


def test_the_whole_loss_is_cut_to_the_widths_there_are():
    from app.benchmarks.peers import loss_config

    whole = loss_config(384, recipe=True)
    assert (whole.dims, whole.weights) == ((384, 256, 128, 64), (1.0, 0.2, 0.1, 0.1))
    assert (whole.negatives_per_query, whole.focal_gamma, whole.pair_mixes) == (7, 0.5, 1)
    plain = loss_config(384, recipe=False)
    assert (plain.dims, plain.negatives_per_query, plain.focal_gamma) == ((), 7, 0.0)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--shape", "huge"], "There is no shape 'huge'; there are tiny, small, 0.5b."),
        (["--batches", "128,many"], "--batches 128,many is not a list"),
        (["--batches", "0"], "--batches 0 is not a list"),
        (["--texts", "nowhere"], "There are no readable documents in nowhere"),
        (["--shape", "tiny", "--texts", "short"], "The documents do not give 576 different pieces of 32 tokens"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_an_impossible_measurement_is_refused(cli, write, arguments, said):
    write(cli.folder / "short", **{"a.txt": "Bees make honey."})
    assert said in cli("bench", "train", *arguments).refusal


def test_a_contestant_that_ends_is_named_with_its_reason(tmp_path):
    from app.benchmarks.contestants import Contestant
    from app.benchmarks.errors import BenchRefused
    from app.benchmarks.peers import OURS, Job

    job = Job(OURS, str(tmp_path / "gone"), str(tmp_path / "texts.json"), [], 16, False, str(tmp_path))
    with (
        pytest.raises(BenchRefused, match="The process of ours ended before its measurement did: .*gone"),
        Contestant(job, tmp_path).running([1]),
    ):
        pass
