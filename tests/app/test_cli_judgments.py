"""Judgments from the command line: taken out, and asked of a version that waits."""

import json

from app.services.access import OWNER
from indexer.search import Mode, SearchRequest


def test_what_was_judged_is_exported_and_asked_of_the_next_version(cli, write, monkeypatch):
    write(cli.folder / "shelf", **{"a.md": "# Apples\n\nApples grow on trees.\n", "b.txt": "Bees make honey.\n"})
    cli("corpus", "add", "shelf", "shelf")
    assert cli("index", "build", "shelf").code == 0
    refused = cli("judgments", "export", "shelf", "--out", "task").refusal
    assert refused.startswith("No question has a result that was judged relevant")

    monkeypatch.setenv("KALM_DATA_DIR", str(cli.data))
    from app.bootstrap import services

    services.cache_clear()
    own = services()
    found = own.search.search(SearchRequest("shelf", "honey", mode=Mode.KEYWORD)).results
    own.notes.judge(OWNER, "shelf", "honey", found[0], 1)
    own.close()
    services.cache_clear()

    written = cli("judgments", "export", "shelf", "--out", "task")
    assert written.out == "1 questions with 1 judgments on 2 passages are in task.\n"
    assert {path.name for path in (cli.folder / "task").iterdir()} == {
        "corpus.parquet", "queries.parquet", "qrels.parquet", "task.json",
    }  # fmt: skip
    assert cli("judgments", "export", "shelf", "--format", "pairs", "--out", "pairs.jsonl").code == 0
    assert json.loads((cli.folder / "pairs.jsonl").read_text()) == {
        "query": "honey", "positive": ["Bees make honey."], "negative": [],
    }  # fmt: skip

    assert cli("index", "rebuild", "shelf", "--hold").code == 0
    checked = cli("index", "check", "shelf").out
    assert "passed: golden queries: 1 of 1 golden queries are answered, 1 by the version in use." in checked
    assert "no corpus nowhere" in cli("judgments", "export", "nowhere", "--out", "x").refusal
