"""Models, folders of tasks and the whole search under mteb: right scores, each written once."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from task_cases import word_counter, write_tasks

pytestmark = pytest.mark.filterwarnings("ignore:To copy construct from a tensor")  # mteb's own affair

MAIN_SCORES = {
    "TinyBitext": "f1",
    "TinyClassification": "accuracy",
    "TinyClustering": "v_measure",
    "TinyPairs": "max_ap",
    "TinyReranking": "map_at_1000",
    "TinyRetrieval": "ndcg_at_10",
    "TinySTS": "cosine_spearman",
}


@pytest.fixture(scope="module")
def tasks(tmp_path_factory):
    """The folder; only read."""
    return write_tasks(tmp_path_factory.mktemp("tasks"))


def scores(folder, model):
    """Points of every task of a folder, by mteb."""
    import mteb

    from app.evaluation.local_tasks import local_tasks

    ran = mteb.evaluate(model, local_tasks(folder), cache=None, co2_tracker=False, show_progress_bar=False)
    return {result.task_name: 100 * result.get_score() for result in ran.task_results}


def run_all(folder, out, model):
    from app.evaluation.local_tasks import local_tasks
    from app.evaluation.results import Results
    from app.evaluation.run import run

    return run(local_tasks(folder), model, Results(out, model.mteb_model_meta), lambda _: None)


def test_mteb_finds_everything_in_its_place(tasks):
    from app.evaluation.local_tasks import local_tasks

    assert {task.metadata.name: task.metadata.main_score for task in local_tasks(tasks)} == MAIN_SCORES
    assert scores(tasks, word_counter()) == pytest.approx(dict.fromkeys(MAIN_SCORES, 100), abs=1e-3)


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_scores_are_those_of_sentence_transformers_on_the_same_weights(tasks, tiny_model):
    import mteb
    from mteb.models import EncoderProtocol
    from mteb.models.instruct_wrapper import InstructSentenceTransformerModel

    from app.evaluation.encoder import prompted
    from app.evaluation.prompts import ENTRY
    from embedder import Embedder

    embedder = Embedder.load(str(tiny_model), dtype="float32")
    ours = prompted(embedder, "mteb")
    assert isinstance(ours, EncoderProtocol)
    settings = mteb.get_model_meta(ENTRY).loader_kwargs | {"max_seq_length": embedder.max_tokens}
    theirs = InstructSentenceTransformerModel(str(tiny_model), None, device="cpu", **settings)
    expected = scores(tasks, theirs)
    assert scores(tasks, ours) == pytest.approx(expected, abs=0.01)
    assert len(set(expected.values())) >= 4  # scores of a model that knows nothing, not all alike
    others = scores(tasks, prompted(embedder, "none"))
    assert others != pytest.approx(expected, abs=0.01)  # what stands before the texts does matter


def test_a_task_is_scored_once(tasks, tmp_path, caplog):
    folder = write_tasks(tmp_path / "tasks")
    first = run_all(folder, tmp_path / "out", word_counter())
    again = word_counter()
    scored = run_all(folder, tmp_path / "out", again)
    assert [one.score for one in scored] == pytest.approx([one.score for one in first], abs=1e-4)
    assert again.asked == []
    pairs = pq.read_table(folder / "TinySTS" / "pairs.parquet").slice(0, 20)
    pq.write_table(pairs, folder / "TinySTS" / "pairs.parquet")
    (broken,) = (tmp_path / "out").rglob("TinyBitext.json")
    broken.write_text('{"task_name": "Tiny')
    run_all(folder, tmp_path / "out", again)
    assert set(again.asked) == {"TinySTS", "TinyBitext"}
    assert "TinyBitext.json cannot be read" in caplog.text


def test_results_are_files_that_mteb_reads(tasks, tmp_path):
    import mteb

    run_all(tasks, tmp_path, word_counter())
    assert (tmp_path / "results" / "tests__words" / "1" / "model_meta.json").exists()
    (model,) = mteb.ResultCache(tmp_path).load_results(models=["tests/words"], require_model_meta=False).model_results
    assert {result.task_name for result in model.task_results} == set(MAIN_SCORES)


KILLED = """
import os, signal, sys
from pathlib import Path
from task_cases import word_counter
sys.path.insert(0, sys.argv[3])
from test_evaluation import run_all

rename, done = Path.replace, []

def replace(self, target):
    if "results" in Path(target).parts and target.name.startswith("Tiny"):
        done.append(target)
        if len(done) == 3:
            os.kill(os.getpid(), signal.SIGKILL)
    return rename(self, target)

Path.replace = replace
run_all(Path(sys.argv[1]), Path(sys.argv[2]), word_counter())
"""


def test_a_killed_run_goes_on_where_it_was(tasks, tmp_path):
    here = Path(__file__).parent
    path = os.pathsep.join([str(here.parents[1]), str(here.parent)])
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(tasks), str(tmp_path), str(here)],
        env=os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    assert sorted(path.name for path in tmp_path.rglob("Tiny*.json")) == ["TinyBitext.json", "TinyClassification.json"]
    assert list(tmp_path.rglob(".TinyClustering.json.tmp"))  # it was being written
    rest = word_counter()
    assert [one.error for one in run_all(tasks, tmp_path, rest)] == [""] * 7
    assert set(rest.asked) == MAIN_SCORES.keys() - {"TinyBitext", "TinyClassification"}


@pytest.mark.parametrize(
    ("task", "table", "columns", "said"),
    [
        ("TinySTS", "pairs", {"text1": ["a"], "text2": ["b"]}, "no column 'score'"),
        ("TinyRetrieval", "qrels", {"query_id": ["q1"], "doc_id": ["d99"], "score": [1]}, "the document 'd99'"),
        ("TinyRetrieval", "qrels", {"query_id": ["q1"], "doc_id": ["d1"], "score": [0.5]}, "takes whole numbers"),
        ("TinyRetrieval", "qrels", {"query_id": ["x"], "doc_id": ["d1"], "score": [1]}, "no query with a relevant"),
        ("TinyClassification", "test", {"text": ["a"], "label": ["moon"]}, "tests the class 'moon'"),
    ],
)
def test_tables_that_do_not_fit_are_refused_in_a_sentence(tmp_path, task, table, columns, said):
    from app.evaluation.local_tasks import local_tasks
    from trainer.task_files import BadTasks

    folder = write_tasks(tmp_path)
    pq.write_table(pa.table(columns), folder / task / f"{table}.parquet")
    (broken,) = local_tasks(folder / task) if task != "TinySTS" else local_tasks(folder, ["TinyPairs"])
    if task == "TinySTS":
        (folder / "TinySTS" / "task.json").write_text('{"type": "sts"}')
        (broken,) = local_tasks(folder / task)
    with pytest.raises(BadTasks, match=said):
        broken.load_data()


def test_a_folder_named_like_a_task_of_mteb_is_measured_as_that_is(tmp_path):
    from app.evaluation.local_tasks import local_tasks

    folder = write_tasks(tmp_path)
    (folder / "TinyPairs").rename(folder / "Ocnli")
    (task,) = local_tasks(folder, ["Ocnli"])
    assert task.metadata.main_score == "max_accuracy"
    assert task.metadata.prompt == "Retrieve semantically similar text."
    assert local_tasks(folder / "Ocnli")[0].metadata.revision == task.metadata.revision


def test_mteb_loads_our_models_by_name(tiny_model, monkeypatch):
    import mteb
    from mteb.models.model_implementations import MODEL_REGISTRY

    from app.evaluation.encoder import entry, register

    assert set(register()) == {f"kalm-retrieval/{name}" for name in ("kalm-nano", "kalm-v2", "kalm-v2.5")}
    assert mteb.get_model_meta("kalm-retrieval/kalm-v2.5").embed_dim == [896, 512, 256, 128, 64]
    about = entry("tiny", "1", source=str(tiny_model), dims=(32, 16, 8), max_tokens=128)
    monkeypatch.setitem(MODEL_REGISTRY, about.name, about)
    model = mteb.get_model("kalm-retrieval/tiny", embed_dim=16)
    task = mteb.get_task("STS12").metadata
    vectors = model.encode([{"text": ["bees"]}, {"text": ["honey"]}], task_metadata=task, hf_split="", hf_subset="")
    assert vectors.shape == (2, 16)


def test_the_whole_search_answers_mteb(tasks, tiny_model, tmp_path):
    from mteb.models import EncoderProtocol, SearchProtocol

    from app.evaluation.local_tasks import local_tasks
    from app.evaluation.results import Results
    from app.evaluation.run import run
    from app.evaluation.system import SearchSystem
    from indexer.search import Mode

    with SearchSystem(str(tiny_model), Mode.KEYWORD) as system:
        assert isinstance(system, SearchProtocol)
        assert not isinstance(system, EncoderProtocol)
        place = system._folder
        (scored,) = run(
            local_tasks(tasks, ["TinyRetrieval"]), system, Results(tmp_path, system.mteb_model_meta), lambda _: None
        )
    assert scored.score == pytest.approx(100)  # both words of a question stand in one document only
    assert not place.exists()
    (result,) = tmp_path.rglob("TinyRetrieval.json")
    assert result.parent.name == "system_keyword"
    (split,) = json.loads(result.read_text())["scores"]["test"]
    assert split["ndcg_at_10"] == pytest.approx(1)
