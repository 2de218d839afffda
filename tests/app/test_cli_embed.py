"""``kalm embed``: a file of texts into a file of vectors."""

from functools import partial

import numpy as np
import pyarrow.parquet as pq
import pytest


@pytest.fixture
def embed(cli):
    """``kalm embed`` in float32, which no timing of this machine decides on."""
    return partial(cli, "embed", "--dtype", "float32")


@pytest.fixture
def encoder(tiny_model):
    from embedder import Embedder

    return Embedder.load(str(tiny_model), dtype="float32")


def test_lines_become_rows(cli, embed, write, encoder):
    write(cli.folder, **{"texts.txt": "Bees make honey.\n\n蜜蜂酿蜜\r\nlast line without an end"})
    done = embed("texts.txt", "vectors.npy")
    assert (done.code, done.out) == (0, "")
    assert done.err.startswith("4 texts, ")
    assert "0 cut at 128 tokens, written to vectors.npy as 32 dimensions." in done.err
    vectors = np.load(cli.folder / "vectors.npy")
    texts = ["Bees make honey.", "", "蜜蜂酿蜜", "last line without an end"]
    np.testing.assert_allclose(vectors, encoder.encode_documents(texts), atol=1e-5)


def test_queries_carry_their_instruction_and_narrow_widths_are_cut(cli, embed, write, encoder):
    write(cli.folder, **{"texts.txt": "what is honey\n"})
    assert embed("texts.txt", "q.npy", "--side", "query", "--dim", "8").code == 0
    expected = encoder.resized(8).encode_queries(["what is honey"])
    np.testing.assert_allclose(np.load(cli.folder / "q.npy"), expected, atol=1e-5)


def test_json_lines_become_a_table(cli, embed, write):
    lines = '{"id": 7, "text": "Bees"}\n{"text": "蜜蜂", "id": null}\n'
    write(cli.folder, **{"texts.jsonl": lines})
    assert embed("texts.jsonl", "vectors.parquet").code == 0
    table = pq.read_table(cli.folder / "vectors.parquet").to_pydict()
    assert (table["id"], table["text"]) == (["7", None], ["Bees", "蜜蜂"])
    np.testing.assert_allclose(np.linalg.norm(table["vector"], axis=1), 1, atol=1e-5)


@pytest.mark.parametrize(
    ("stdin", "flags"), [("Bees\n蜜蜂\n", []), ('{"body": "Bees"}\n{"body": "蜜蜂"}\n', ["--jsonl", "--field", "body"])]
)
def test_a_dash_reads_standard_input(cli, embed, stdin, flags, encoder):
    assert embed("-", "vectors.npy", *flags, stdin=stdin).code == 0
    vectors = np.load(cli.folder / "vectors.npy")
    np.testing.assert_allclose(vectors, encoder.encode_documents(["Bees", "蜜蜂"]), atol=1e-5)


def test_no_lines_are_no_rows(cli, embed):
    assert embed("-", "vectors.npy").code == 0
    assert np.load(cli.folder / "vectors.npy").shape == (0, 32)


def test_texts_that_are_too_long_are_counted(embed):
    done = embed("-", "vectors.npy", stdin="short\n" + "very long " * 200 + "\n")
    assert "2 texts, " in done.err
    assert " 1 cut at 128 tokens" in done.err


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{nothing", "Line 2 is not JSON"),
        ('{"body": "x"}', "Line 2 has no text in 'text'"),
        ("[1]", "Line 2 has no text"),
    ],
)
def test_a_bad_line_is_named_and_the_target_left_as_it_was(cli, embed, write, line, said):
    write(cli.folder, **{"texts.jsonl": f'{{"text": "Bees"}}\n{line}\n', "vectors.npy": "before"})
    assert said in embed("texts.jsonl", "vectors.npy").refusal
    assert (cli.folder / "vectors.npy").read_text() == "before"
    assert {path.name for path in cli.folder.iterdir()} <= {"texts.jsonl", "vectors.npy", "data"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["missing.txt", "out.npy"], "missing.txt cannot be opened"),
        (["-", "out.csv"], "must end in .npy or .parquet"),
        (["-", "nowhere/out.npy"], "nowhere/out.npy cannot be written"),
        (["-", "nowhere/out.parquet"], "nowhere/out.parquet cannot be written"),
        (["-", "out.npy", "--side", "middle"], "--side query or --side document"),
        (["-", "out.npy", "--dim", "7"], "7"),
        (["-", "out.npy", "--dtype", "int3"], "int3"),
        (["-", "out.npy", "--model", "nosuch"], "There is no model 'nosuch'"),
        (["-", "out.npy", "--model", "."], ""),
        (["-", "out.npy", "--side", "query", "--task", "Cooking"], "Cooking"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_an_impossible_embedding_is_refused(cli, arguments, said):
    assert said in cli("embed", *arguments, stdin="Bees\n").refusal


# Models
