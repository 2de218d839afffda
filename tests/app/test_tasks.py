"""Long work in processes of its own: done, failed, cancelled, killed; whatever dies meanwhile."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from app.services.access import OWNER, Forbidden, Person, Role
from app.services.tasks import Tasks
from indexer.catalog.tables import Database
from indexer.catalog.task_tables import TaskRefused, TaskState, TaskTable

_PROCESS = Path(__file__).parents[1] / "task_process.py"
_SECONDS = 60


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path / 'catalog.sqlite'}"


@pytest.fixture
def table(url):
    database = Database(url)
    yield TaskTable(database)
    database.close()


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "tasks"


@pytest.fixture
def tasks(table, url, folder):
    made = Tasks(table, folder, command=(sys.executable, str(_PROCESS), url, str(folder)))
    yield made
    for task in table.active():
        made.cancel(OWNER, task.id)


@pytest.fixture
def linger(tasks, tmp_path):
    """Submit a task that waits to be let go."""
    return lambda name: tasks.submit(OWNER, "linger", {"folder": str(tmp_path), "name": name})


def until(condition):
    deadline = time.monotonic() + _SECONDS
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return found


def ended(tasks, task_id):
    """The task once it is over."""
    return until(lambda: (task := tasks.one(task_id)).state.is_final and task)


def running(tasks, task_id):
    return until(lambda: (task := tasks.one(task_id)).state is TaskState.RUNNING and task)


def said(tmp_path):
    path = tmp_path / "said"
    return path.read_text().splitlines() if path.exists() else []


def test_a_task_is_done_and_leaves_nothing_but_its_row(tasks, folder):
    task_id = tasks.submit(Person("Mei", Role.EDITOR), "count", {"to": 3})
    assert tasks.one(task_id).result == {}
    done = ended(tasks, task_id)
    assert (done.state, done.progress, done.stage) == (TaskState.DONE, 1.0, "step 2")
    assert done.result == {"counted": 3, "for": "Mei"}
    assert done.created <= done.started <= done.ended
    assert tasks.recent("count") == [done]
    assert tasks.recent("map") == []
    until(lambda: [path.name for path in folder.iterdir()] == ["turn.lock"])


def test_a_failure_is_one_sentence_and_a_bug_is_in_the_log(tasks, folder):
    refused, crashed = (tasks.submit(OWNER, kind, {}) for kind in ("refuse", "crash"))
    assert ended(tasks, refused).error == "There is nothing to count; add something."
    failed = ended(tasks, crashed)
    assert failed.state is TaskState.FAILED
    assert "secret" not in failed.error
    assert "tasks" in failed.error
    assert "RuntimeError: secret detail" in (folder / f"{crashed}.log").read_text()


def test_cancelling_kills_the_process_and_the_next_has_its_turn(tasks, linger, tmp_path):
    first, second = linger("first"), linger("second")
    pid = until(lambda: [task for task in (tasks.one(first), tasks.one(second)) if task.pid])[0].pid
    mine, other = (first, second) if tasks.one(first).pid == pid else (second, first)
    until(lambda: said(tmp_path))
    assert tasks.one(other).state is TaskState.QUEUED  # one at a time
    tasks.cancel(OWNER, mine)
    until(lambda: not Path(f"/proc/{pid}").exists())
    (tmp_path / "go").touch()
    assert ended(tasks, other).state is TaskState.DONE
    assert tasks.one(mine).state is TaskState.CANCELLED
    assert [line.split()[0] for line in said(tmp_path)] == ["begin", "begin", "end"]
    tasks.cancel(OWNER, other)
    assert tasks.one(other).state is TaskState.DONE


def test_a_task_cancelled_before_its_turn_is_never_done(tasks, linger, tmp_path):
    first = linger("first")
    running(tasks, first)
    second = linger("second")
    tasks.cancel(OWNER, second)
    (tmp_path / "go").touch()
    ended(tasks, first)
    until(lambda: not list((tmp_path / "tasks").glob("*.log")))
    assert said(tmp_path) == ["begin first", "end first"]


def test_a_process_that_was_killed_is_found_dead(tasks, linger):
    task_id = linger("first")
    os.kill(running(tasks, task_id).pid, signal.SIGKILL)
    failed = ended(tasks, task_id)
    assert failed.state is TaskState.FAILED
    assert "ended from outside" in failed.error


def test_a_task_survives_the_death_of_its_server(tasks, url, folder, tmp_path):
    server = (
        "import os, signal; from pathlib import Path; from app.services.access import OWNER;"
        "from app.services.tasks import Tasks; from indexer.catalog.tables import Database;"
        "from indexer.catalog.task_tables import TaskTable;"
        f"tasks = Tasks(TaskTable(Database({url!r})), Path({str(folder)!r}),"
        f" command=({sys.executable!r}, {str(_PROCESS)!r}, {url!r}, {str(folder)!r}));"
        f"tasks.submit(OWNER, 'linger', {{'folder': {str(tmp_path)!r}, 'name': 'first'}});"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", server], check=False).returncode == -signal.SIGKILL
    (task,) = tasks.recent("linger")
    running(tasks, task.id)
    (tmp_path / "go").touch()
    assert ended(tasks, task.id).state is TaskState.DONE


def test_what_waits_without_a_process_gets_one_and_not_two(tasks, table, url, folder, tmp_path):
    folder.mkdir()
    (folder / "lost.lock").touch()  # as a server leaves it that was killed between the row and the process
    table.add("lost", "linger", "owner", "admin", {"folder": str(tmp_path), "name": "lost"}, most_waiting=1)
    (tmp_path / "go").touch()
    others = [Tasks(table, folder, command=(sys.executable, str(_PROCESS), url, str(folder))) for _ in range(4)]
    looking = [threading.Thread(target=other.recent, args=("linger",)) for other in others]
    for thread in looking:
        thread.start()
    for thread in looking:
        thread.join()
    assert ended(tasks, "lost").state is TaskState.DONE
    assert said(tmp_path) == ["begin lost", "end lost"]


def test_a_task_of_another_machine_is_left_to_it(tasks, table):
    table.add("theirs", "count", "owner", "admin", {"to": 1}, most_waiting=1)
    assert table.begin("theirs", 1)
    assert tasks.one("theirs").state is TaskState.RUNNING
    assert not table.begin("theirs", 2)


def test_who_may_and_how_many(tasks, table, folder):
    with pytest.raises(Forbidden):
        tasks.submit(Person("Ana", Role.VIEWER), "count", {})
    with pytest.raises(Forbidden):
        tasks.cancel(Person("Ana", Role.VIEWER), "any")
    with pytest.raises(TaskRefused, match="There is no task gone"):
        tasks.one("gone")
    for number in range(20):
        table.add(f"theirs {number}", "count", "owner", "admin", {"to": 1}, most_waiting=20)
    with pytest.raises(TaskRefused, match="20 tasks waiting"):
        tasks.submit(OWNER, "count", {"to": 1})
    assert list(folder.iterdir()) == []
    for number in range(20):
        table.cancel(f"theirs {number}")
