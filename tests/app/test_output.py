"""What a build says where there is no terminal."""

import pytest

from app.cli import output
from indexer.pipeline import Progress


def said(capsys, monkeypatch, **progress):
    monkeypatch.setattr(output, "_LINE_SECONDS", 0.0)
    with output.build_progress("mine") as show:
        usual = {"stage": "embedding", "files_done": 0, "files": 1, "chunks": 400, "bytes": 1000, "seconds": 10.0}
        show(Progress(**usual | progress))
    return capsys.readouterr().err


@pytest.mark.parametrize(
    ("seconds", "left"), [(1.0, "9 s"), (10.0, "90 s"), (20.0, "3 min"), (400.0, "60 min"), (9000.0, "22 h")]
)
def test_the_time_left_is_in_a_unit_people_use(capsys, monkeypatch, seconds, left):
    line = said(capsys, monkeypatch, seconds=seconds, bytes_done=100)
    assert line == f"Indexing mine: 10%, 400 passages, {400 / seconds:,.0f}/s, about {left} left\n"


def test_the_first_passage_says_nothing_about_the_others(capsys, monkeypatch):
    assert said(capsys, monkeypatch, chunks=1, bytes_done=1) == "Indexing mine: 0%, 1 passage\n"
    assert said(capsys, monkeypatch, chunks=0, bytes_done=0) == "Indexing mine: 0%, 0 passages\n"


def test_when_all_is_read_nothing_is_said_of_the_time_left(capsys, monkeypatch):
    assert said(capsys, monkeypatch, stage="writing", bytes_done=1000) == "Writing mine: 100%, 400 passages, 40/s\n"
