"""What editors and admins do, on a real installation with a tiny model; every change is in the log."""

import io
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from app.bootstrap import Services
from app.services.access import Forbidden, Person, Role
from app.services.admin import ModelNotHere, NotConfirmed
from app.services.classify.classifiers import Label
from app.services.classify.tables import Example
from app.services.corpora import CorpusRefused
from app.services.errands import Errand
from app.services.health import Remedy, remedy_for
from app.services.indexing import UpToDate
from app.services.upkeep import NoRemedy
from app.services.uploads import UploadRefused
from app.settings import Settings
from indexer.catalog.corpora import CatalogError
from indexer.catalog.jobs import JobError
from indexer.records import Run, RunState
from indexer.upkeep.backup import restore_backup
from indexer.upkeep.doctor import Finding
from indexer.upkeep.versions import NoVersion

MEI = Person("Mei", Role.ADMIN)
EDITOR = Person("Ed", Role.EDITOR)
VIEWER = Person("Vi", Role.VIEWER)
FINDING = Finding("shelf", "build", False, "it was never built", "kalm index build shelf")

FOR_EDITORS = {
    "corpora": (),
    "failed_files": ("shelf",),
    "upload": ("shelf", []),
    "outlook": ("shelf",),
    "build": ("shelf",),
    "retry_failed": ("shelf",),
    "runs": (5,),
    "failures": (1,),
    "pause": (1,),
    "resume": (1,),
    "cancel": (1,),
    "retry": (1,),
    "workers": (),
    "worker_failure": (),
    "begin": (Errand.PLAN,),
    "carry_out": (Errand.PLAN, {}, lambda *_: None),
    "stop": ("1",),
    "one": ("1",),
    "last": ([Errand.PLAN],),
    "plan": ("shelf",),
}
FOR_ADMINS = {
    "add_folder": ("shelf", "/"),
    "remove": ("shelf", "shelf"),
    "confirm_removal": ("shelf", "shelf"),
    "storage_report": (),
    "proofs": (),
    "kept_versions": (),
    "versions": ("shelf",),
    "rebuild": ("shelf", None, None),
    "check": ("shelf",),
    "swap": ("shelf",),
    "rollback": ("shelf",),
    "discard": ("shelf",),
    "start_worker": (),
    "models": (),
    "prove_model": ("kalm-nano",),
    "storage": (),
    "drop_unused": (),
    "backups": (),
    "back_up": (),
    "carry_out_backup": ({}, lambda *_: None),
    "drop_backup": ("kalm.tar.gz",),
    "examine": (),
    "carry_out_examination": ({}, lambda *_: None),
    "task": ("backup",),
    "repair": (FINDING,),
    "settings": (),
    "entries": (5,),
}


@dataclass
class Sent:
    """A file as a browser sends it."""

    name: str
    content: bytes

    def __post_init__(self):
        self.size = len(self.content)
        self.read = io.BytesIO(self.content).read


def files(**contents):
    return [Sent(name.replace("__", "."), text.encode()) for name, text in contents.items()]


def actions(made):
    return [(each.person, each.action, each.subject) for each in reversed(made.audit.latest(100))]


def method(made, name):
    return getattr(next(part for part in (made.upkeep, made.admin, made.errands) if hasattr(part, name)), name)


@pytest.fixture
def shelf(made, write, tmp_path):
    """A corpus of two files, not built yet."""
    root = write(tmp_path / "shelf", **{"a.md": "# Apples\n\nApples grow on trees.\n", "b.txt": "Bees make honey.\n"})
    made.admin.add_folder(MEI, "shelf", str(root))
    return root


def test_every_public_method_is_refused_to_whom_it_is_not_for(made):
    parts = made.admin, made.upkeep, made.errands
    public = {
        name for part in parts for name in dir(type(part)) if name[0] != "_" and name not in part.__dataclass_fields__
    }
    assert public == FOR_EDITORS.keys() | FOR_ADMINS.keys()
    for name, arguments in (FOR_EDITORS | FOR_ADMINS).items():
        with pytest.raises(Forbidden, match="Vi is viewer"):
            method(made, name)(VIEWER, *arguments)
    for name, arguments in FOR_ADMINS.items():
        with pytest.raises(Forbidden, match="needs the role admin, and Ed is editor"):
            method(made, name)(EDITOR, *arguments)
    for errand in set(Errand) - {Errand.PLAN, Errand.BUILD, Errand.RETRY, Errand.RETRY_FAILED, Errand.CANCEL}:
        with pytest.raises(Forbidden, match="needs the role admin, and Ed is editor"):
            made.errands.begin(EDITOR, errand)
        with pytest.raises(Forbidden, match="needs the role admin, and Ed is editor"):
            made.errands.carry_out(EDITOR, errand, {}, lambda *_: None)
    assert actions(made) == []
    assert made.admin.corpora(EDITOR) == []


def test_an_upload_becomes_a_corpus_is_built_grows_and_goes(made, carry_out):
    received = made.admin.upload(EDITOR, "notes", files(a__md="# Apples\n\nThey grow.", b__txt="Bees.", c__exe="MZ"))
    assert (received.files, received.skipped) == (2, ("c.exe",))
    [seen] = made.admin.corpora(EDITOR)
    assert (seen.is_uploaded, seen.run, seen.info.searchable) == (True, None, False)
    assert made.admin.outlook(EDITOR, "notes").shares["add"].files == ("a.md", "b.txt")

    run = made.admin.build(EDITOR, "notes")
    assert made.admin.corpora(EDITOR)[0].run == run
    carry_out()
    assert isinstance(made.admin.build(EDITOR, "notes"), UpToDate)
    [seen] = made.admin.corpora(EDITOR)
    assert (seen.info.documents, seen.bytes > 0) == (2, True)

    made.admin.upload(EDITOR, "notes", files(a__md="# Pears"))
    made.admin.upload(EDITOR, "notes", files(b__txt="Cats."), replace=True)
    folder = made.uploads.folder_of("notes")
    assert {path.name: path.read_text() for path in folder.iterdir()} == {
        "a.md": "# Apples\n\nThey grow.",
        "a (2).md": "# Pears",
        "b.txt": "Cats.",
    }

    with pytest.raises(NotConfirmed, match="type notes to confirm"):
        made.admin.remove(MEI, "notes", "note")
    made.admin.remove(MEI, "notes", " notes ")
    assert not folder.exists()
    assert made.admin.corpora(EDITOR) == []
    assert actions(made) == [
        ("Ed", "corpus.upload", "notes"),
        ("Ed", "index.build", "notes"),
        ("Ed", "corpus.upload", "notes"),
        ("Ed", "corpus.upload", "notes"),
        ("Mei", "corpus.remove", "notes"),
    ]


def test_files_of_a_folder_stay_when_its_corpus_goes_and_none_are_uploaded_into_it(made, shelf):
    with pytest.raises(CorpusRefused, match="stands for the folder"):
        made.admin.upload(EDITOR, "shelf", files(c__txt="Cats."))
    made.admin.remove(MEI, "shelf", "shelf")
    assert sorted(path.name for path in shelf.iterdir()) == ["a.md", "b.txt"]


@pytest.mark.parametrize("name", ["", "..", "a/b", "a\0b", "-a", "x" * 65, "a b"])
def test_what_is_no_name_is_no_corpus(made, tmp_path, name):
    with pytest.raises(CorpusRefused, match="cannot be the name of a corpus"):
        made.admin.upload(EDITOR, name, files(a__txt="Apples."))
    with pytest.raises(CorpusRefused, match="cannot be the name of a corpus"):
        made.admin.add_folder(MEI, name, str(tmp_path))
    assert not list(tmp_path.glob("data/uploads/*"))


def test_an_upload_that_is_refused_leaves_no_corpus(made):
    with pytest.raises(UploadRefused):
        made.admin.upload(EDITOR, "notes", files(c__exe="MZ"))
    assert (made.admin.corpora(EDITOR), actions(made)) == ([], [])


def test_corpora_by_path_lie_in_allowed_folders(made, tmp_path):
    inside = tmp_path / "allowed" / "books"
    inside.mkdir(parents=True)
    (tmp_path / "secret").mkdir()
    (inside / "link").symlink_to(tmp_path / "secret")
    admin = replace(made.admin, roots=(tmp_path / "allowed",))
    admin.add_folder(MEI, "books", f" {inside} ")
    for path in (tmp_path / "secret", inside / "link", inside / ".." / ".." / "secret", tmp_path):
        with pytest.raises(CorpusRefused, match="is not in a folder that corpora may be made of"):
            admin.add_folder(MEI, "other", str(path))
    assert actions(made) == [("Mei", "corpus.add", "books")]


@pytest.mark.parametrize(
    "path", ["", "books", "../books", "/nowhere/at/all", "a\0b", "/" + "x" * 5000, "~nobody-here/x"]
)
def test_a_path_that_is_none_is_refused_in_one_sentence(made, path):
    with pytest.raises(CorpusRefused) as refused:
        made.admin.add_folder(MEI, "books", path)
    assert str(refused.value).endswith(".")
    with pytest.raises(CatalogError):
        made.admin.remove(MEI, "books", "books")


def test_a_build_is_paused_resumed_cancelled_and_its_failed_files_retried_alone(made, shelf, carry_out):
    (shelf / "broken.pdf").write_bytes(b"%PDF-1.7 and then nothing that a PDF should hold")
    run = made.admin.build(EDITOR, "shelf")
    assert made.admin.pause(EDITOR, run.id).state is RunState.PAUSED
    assert made.admin.resume(EDITOR, run.id).state is RunState.QUEUED
    assert made.admin.cancel(EDITOR, run.id).state is RunState.CANCELLED
    with pytest.raises(JobError, match="nothing to retry"):
        made.admin.retry_failed(EDITOR, "shelf")
    run = made.admin.build(EDITOR, "shelf")
    carry_out()
    assert list(made.admin.failures(EDITOR, run.id)) == list(made.admin.failed_files(EDITOR, "shelf")) == ["broken.pdf"]
    again = made.admin.retry_failed(EDITOR, "shelf")
    assert again.files == 1
    assert made.admin.retry(EDITOR, run.id).id == again.id
    verbs = [action for _, action, _ in actions(made)]
    assert verbs == [
        "corpus.add",
        "index.build",
        "run.pause",
        "run.resume",
        "run.cancel",
        "index.build",
        "index.retry",
        "run.retry",
    ]


def test_a_version_of_another_width_waits_is_checked_swapped_and_gone_back_from(made, shelf, carry_out):
    made.admin.build(EDITOR, "shelf")
    carry_out()
    before = made.admin.versions(MEI, "shelf")[0].generation
    run = made.admin.rebuild(MEI, "shelf", None, 16)
    assert (run.held, run.manifest.dim) == (True, 16)
    assert made.admin.rebuild(MEI, "shelf", None, 16).id == run.id
    carry_out()
    waiting, live = made.admin.versions(MEI, "shelf")
    assert (waiting.waits, live.is_live, live.generation) == (True, True, before)
    assert all(check.passed for check in made.admin.check(MEI, "shelf"))
    assert made.admin.swap(MEI, "shelf") == waiting.generation.number
    assert made.admin.versions(MEI, "shelf")[0].is_live

    (shelf / "c.txt").write_text("Cats sleep.")
    later = made.admin.build(EDITOR, "shelf")  # with the width it has, whatever a new index would get
    assert isinstance(later, Run)
    assert (later.base, later.manifest.dim) == (waiting.generation.number, 16)
    made.admin.cancel(EDITOR, later.id)

    assert made.admin.rollback(MEI, "shelf") == before.number
    assert made.admin.discard(MEI, "shelf") == [waiting.generation.number]
    with pytest.raises(NoVersion):
        made.admin.swap(MEI, "shelf")
    verbs = [action for _, action, _ in actions(made) if action.startswith("index.")]
    assert verbs[-5:] == ["index.rebuild", "index.swap", "index.build", "index.rollback", "index.discard"]


def test_a_check_is_of_the_version_that_was_seen(made, shelf, carry_out):
    made.admin.build(EDITOR, "shelf")
    carry_out()
    made.admin.rebuild(MEI, "shelf", None, 16)
    carry_out()
    waiting, live = made.admin.versions(MEI, "shelf")
    seen = {"corpus": "shelf", "version": waiting.generation.number, "swap": True}
    with pytest.raises(NoVersion, match="no longer waits"):
        made.errands.carry_out(MEI, Errand.GATE, seen | {"version": waiting.generation.number + 1}, lambda *_: None)
    assert made.admin.versions(MEI, "shelf") == [waiting, live]
    done = made.errands.carry_out(MEI, Errand.GATE, seen, lambda *_: None)
    assert done == {"version": waiting.generation.number}
    assert made.admin.versions(MEI, "shelf")[0].is_live


def test_a_model_that_would_have_to_be_fetched_is_refused(made, shelf):
    with pytest.raises(ModelNotHere, match="kalm-v2 is not on this machine"):
        made.admin.rebuild(MEI, "shelf", "kalm-v2", None)
    known = {model.name: model for model in made.upkeep.models(MEI)}
    assert (known["kalm-v2"].is_here, known["kalm-v2"].dims[0]) == (False, 896)
    [default] = [model for model in known.values() if model.is_default]
    assert (default.dims, default.is_loaded) == ((32, 16, 8), False)
    proof = made.upkeep.prove_model(MEI, default.name)
    assert proof.dim == 32
    assert [model.is_loaded for model in made.upkeep.models(MEI) if model.is_default] == [True]


def test_what_the_doctor_finds_is_mended(made, shelf, carry_out):
    def found():
        result = made.upkeep.carry_out_examination(MEI, {}, lambda *_: None)
        return {finding["name"]: Finding(**finding) for finding in result["findings"]}

    finding = found()["build"]
    assert (finding.is_well, remedy_for(finding)) == (False, Remedy.BUILD)
    made.upkeep.repair(MEI, finding)
    carry_out()
    assert all(each.is_well for each in found().values())
    live = made.catalog.corpus("shelf").live
    made.engine.drop("shelf", live)
    finding = found()["index"]
    assert (finding.is_well, remedy_for(finding)) == (False, Remedy.FRESH)
    made.upkeep.repair(MEI, finding)
    carry_out()
    assert all(each.is_well for each in found().values())
    with pytest.raises(NoRemedy, match="put the folder back"):
        made.upkeep.repair(MEI, Finding("shelf", "sources", False, "it is not there", "put the folder back"))
    assert [action for _, action, _ in actions(made)] == ["corpus.add", "repair.build", "repair.fresh"]


def test_a_backup_is_written_listed_and_deleted(made, shelf):
    result = made.upkeep.carry_out_backup(MEI, {}, lambda *_: None)
    [backup] = made.upkeep.backups(MEI)
    assert (backup.path, backup.bytes) == (Path(result["path"]), Path(result["path"]).stat().st_size)
    made.upkeep.drop_backup(MEI, backup.path.name)
    assert made.upkeep.backups(MEI) == []
    assert [action for _, action, _ in actions(made)][1:] == ["backup.make", "backup.remove"]


def test_accounts_uploads_and_what_was_learnt_come_back_elsewhere(made, tmp_path):
    made.admin.upload(EDITOR, "notes", files(a__txt="Bees."))
    made.accounts.add("Mei", Role.ADMIN, "a long password")
    labels = [Label("animals"), Label("plants")]
    made.classify.save_described(EDITOR, "kinds", labels, 0.0)
    work = made.classify.begin(EDITOR, [Example("Bees.", "animals"), Example("Oaks.", "plants")])
    archive = made.upkeep.carry_out_backup(MEI, {}, lambda *_: None)["path"]
    restore_backup(Path(archive), tmp_path / "again")
    again = Services(Settings(data_dir=tmp_path / "again", model=made.settings.model))
    [seen] = again.admin.corpora(EDITOR)
    assert (seen.is_uploaded, seen.info.root) == (True, str(tmp_path / "again" / "uploads" / "notes"))
    assert again.accounts.check("Mei", "a long password") == MEI
    assert [one.labels for one in again.classify.classifiers()] == [tuple(labels)]
    assert len(again.classify.work(work).examples) == 2
    again.close()


def test_storage_says_what_takes_room_and_what_nobody_needs(made, shelf, carry_out):
    made.admin.build(EDITOR, "shelf")
    carry_out()
    report = made.upkeep.storage(MEI)
    kinds = {(each.kind, each.subject, each.state) for each in report.taken}
    assert {("index", "shelf", "live"), ("vectors", "", ""), ("catalog", "", "")} <= kinds
    assert (report.unused, report.free > 0) == (0, True)
    data = made.settings.data_dir
    for left in (
        data / "indexes" / "gone",
        data / "maps" / "gone",
        data / "indexes" / "shelf" / "generation-0001",
        data / "uploads" / ".incoming-1",
    ):
        left.mkdir(parents=True)
        (left / "points").write_bytes(b"x" * 10_000)
    assert made.upkeep.storage(MEI).unused > 40_000
    assert made.upkeep.drop_unused(MEI) > 40_000
    assert made.upkeep.storage(MEI).unused == 0
    assert made.corpora.one("shelf").documents == 2
