"""What takes long, done in tasks: refused, begun, carried out, and looked up again."""

import pytest
from instant_tasks import InstantTasks

from app.services.access import Forbidden, Person, Role
from app.services.admin import NotConfirmed
from app.services.errands import OF_BUILDS, OF_STORAGE, OF_VERSIONS, Errand
from app.work import turn_of
from indexer.catalog.task_tables import TaskState
from indexer.sources.folders import FolderUnreadable

MEI = Person("Mei", Role.ADMIN)
EDITOR = Person("Ed", Role.EDITOR)


@pytest.fixture
def errands(made):
    """Done at once, in this process."""
    made.__dict__["tasks"] = InstantTasks(made)
    return made.errands


@pytest.fixture
def shelf(made, errands, write, tmp_path):
    root = write(tmp_path / "shelf", **{"a.md": "# Apples\n\nApples grow.\n", "b.txt": "Bees make honey.\n"})
    made.admin.add_folder(MEI, "shelf", str(root))
    return root


@pytest.fixture
def do(errands):
    """Have something done; returns the task it was."""

    def do(errand, person=MEI, **asked):
        return errands.one(person, errands.begin(person, errand, **asked))

    return do


def test_a_plan_is_kept_until_it_is_of_the_past(errands, shelf, do, carry_out):
    assert errands.plan(EDITOR, "shelf") is None
    do(Errand.PLAN, EDITOR, corpus="shelf")
    first = errands.plan(EDITOR, "shelf")
    assert (first.is_current, first.shares["add"].files, first.shares["add"].names) == (True, 2, ("a.md", "b.txt"))
    assert errands.plan(EDITOR, "shelf") == first

    assert do(Errand.BUILD, EDITOR, corpus="shelf").result == {"run": 1}
    assert not errands.plan(EDITOR, "shelf").is_current
    carry_out()
    assert not errands.plan(EDITOR, "shelf").is_current
    (shelf / "b.txt").rename(shelf / "c.txt")
    do(Errand.PLAN, EDITOR, corpus="shelf")
    second = errands.plan(EDITOR, "shelf")
    assert (second.is_current, second.shares["move"].names) == (True, ("b.txt → c.txt",))
    assert (second.shares["unchanged"].files, second.storage[0].dim, second.made > first.made) == (1, 32, True)


def test_a_plan_of_a_large_folder_stays_short(errands, shelf, do, write):
    write(shelf, **{f"{n:04d}.txt": "Bees." for n in range(300)})
    kept = do(Errand.PLAN, corpus="shelf").result["plan"]
    share = errands.plan(MEI, "shelf").shares["add"]
    assert (share.files, len(share.names), len(str(kept)) < 10_000) == (302, 200, True)


def test_a_plan_that_fails_says_why_and_the_one_before_stays(errands, shelf, do, monkeypatch):
    do(Errand.PLAN, corpus="shelf")

    def fail(*_):
        raise FolderUnreadable("The disk is gone; put it back.")

    monkeypatch.setattr("app.services.outlook.find_files", fail)
    failed = do(Errand.PLAN, corpus="shelf")
    assert (failed.state, failed.error) == (TaskState.FAILED, "The disk is gone; put it back.")
    assert errands.last(EDITOR, [Errand.PLAN], "shelf") == failed
    assert errands.plan(EDITOR, "shelf").shares["add"].files == 2


def test_a_corpus_goes_with_its_plan_once_its_name_was_typed(errands, shelf, do, made):
    do(Errand.PLAN, corpus="shelf")
    with pytest.raises(NotConfirmed, match="type shelf to confirm"):
        errands.begin(MEI, Errand.REMOVE, corpus="shelf", typed="shelves")
    assert errands.last(MEI, [Errand.REMOVE]) is None
    assert do(Errand.REMOVE, corpus="shelf", typed="shelf").result == {"corpus": "shelf"}
    assert made.admin.corpora(MEI) == []
    made.admin.add_folder(MEI, "shelf", str(shelf))
    assert errands.plan(MEI, "shelf") is None


def test_versions_are_gone_back_from_put_in_use_and_discarded_as_they_were_seen(errands, shelf, do, carry_out):
    do(Errand.BUILD, corpus="shelf")
    carry_out()
    assert do(Errand.BUILD, corpus="shelf").result == {"run": None}  # up to date
    assert do(Errand.REBUILD, corpus="shelf", model=None, dim=16).result == {"run": 2}
    carry_out()
    new, old = (each.generation.number for each in errands.admin.versions(MEI, "shelf"))
    checked = do(Errand.GATE, corpus="shelf", version=new, swap=False).result
    assert all(check["passed"] for check in checked["checks"])
    for errand in (Errand.SWAP, Errand.DISCARD):
        assert "no longer waits" in do(errand, corpus="shelf", version=new + 1).error
    assert do(Errand.SWAP, corpus="shelf", version=new).result == {"version": new}
    assert do(Errand.ROLLBACK, corpus="shelf", version=old).result == {"version": old}
    assert do(Errand.DISCARD, corpus="shelf", version=new).result == {"versions": [new]}
    assert errands.last(MEI, OF_VERSIONS, "shelf").kind == Errand.DISCARD
    assert errands.last(MEI, OF_VERSIONS, "other") is None
    with pytest.raises(Forbidden, match="needs the role admin"):
        errands.last(EDITOR, OF_VERSIONS, "shelf")
    rebuilt = errands.last(EDITOR, OF_BUILDS)
    assert rebuilt.kind == Errand.REBUILD
    with pytest.raises(Forbidden, match="needs the role admin"):
        errands.stop(EDITOR, rebuilt.id)


def test_what_was_measured_is_kept(errands, shelf, do, made):
    assert errands.storage_report(MEI) is None
    measured = do(Errand.STORAGE)
    report, when = errands.storage_report(MEI)
    assert (report.unused, when, {each.kind for each in report.taken} >= {"catalog"}) == (0, measured.ended, True)
    left = made.settings.data_dir / "indexes" / "gone"
    left.mkdir(parents=True)
    (left / "points").write_bytes(b"x" * 10_000)
    do(Errand.STORAGE)
    assert errands.storage_report(MEI)[0].unused > 10_000
    assert do(Errand.CLEAN).result["freed"] > 10_000
    assert (left.exists(), errands.storage_report(MEI)[0].unused) == (False, 0)
    assert errands.last(MEI, OF_STORAGE).kind == Errand.CLEAN


def test_what_came_of_opening_a_model_is_kept(errands, do, made):
    name = made.encoders.default_source
    assert do(Errand.PROOF, model="no model").state is TaskState.FAILED
    assert do(Errand.PROOF, model=name).result["dim"] == 32
    proofs = errands.proofs(MEI)
    assert {model: task.state for model, task in proofs.items()} == {
        "no model": TaskState.FAILED,
        name: TaskState.DONE,
    }


def test_nobody_waits_for_a_map_to_go_back_to_a_version():
    turns = {kind: turn_of(kind) for kind in ("map", Errand.GATE, Errand.PLAN, Errand.STORAGE, Errand.ROLLBACK)}
    assert turns["map"] == turns[Errand.GATE] == "turn"
    assert len({turns["map"], turns[Errand.PLAN], turns[Errand.ROLLBACK]}) == 3
