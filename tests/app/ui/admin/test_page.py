"""The admin page on a real installation with a tiny model: every section, in both languages, for every role."""

import os
import re
from datetime import UTC, datetime
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st
from instant_tasks import InstantTasks
from streamlit.testing.v1 import AppTest

from app.services.access import OWNER, Person, Role
from app.services.audit import AuditEntry
from app.services.errands import Errand
from app.services.upkeep import EXAMINATION
from app.ui.admin import pieces
from app.ui.admin.audit import as_csv, matching
from app.ui.admin.state import AdminState, Section, sections_for
from app.ui.i18n import LANGUAGES, Translator, catalogue
from indexer.catalog.task_tables import TaskTable
from indexer.records import RunState

EDITOR = Person("Ed", Role.EDITOR)
NASTY = "<script>alert(1)</script> **bold** $x^2$ [a](http://b) :smile: &amp; \u202eexe"
BROKEN = b"%PDF-1.7 and then nothing that a PDF should hold"


def opened(made, person=OWNER, **params):
    """The page as a browser would load it."""

    def page(admin, upkeep, errands, person):  # runs on its own, without this module's names
        from app.ui.admin.page import render

        render(admin, upkeep, errands, lambda: person)

    test = AppTest.from_function(page, args=(made.admin, made.upkeep, made.errands, person), default_timeout=120)
    test.context = {"locale": "en-US"}
    test.query_params.update(params)
    return test.run()


@pytest.fixture
def open_admin(made):
    """Load the page of an installation of the test's own."""
    return partial(opened, made)


@pytest.fixture(scope="module")
def built(module_made, write, tmp_path_factory):
    """Load the page of an installation with a live index, a file that failed, and a name in the log that is none."""
    made, folder = module_made, tmp_path_factory.mktemp("files")
    write(folder, **{"a.md": "# Apples\n\nApples grow.\n", "<b>&.pdf": BROKEN})
    made.admin.add_folder(OWNER, "shelf", str(folder))
    made.admin.build(OWNER, "shelf")
    made.indexing.work(wait=True, on_error=lambda run, error: pytest.fail(str(error)))
    made.audit.note(Person(NASTY, Role.ADMIN), "corpus.add", NASTY, path=NASTY)
    return partial(opened, made)


@pytest.fixture
def instant(made):
    """Have long work done at once; before anything else asks for the services."""
    made.__dict__["tasks"] = InstantTasks(made)


@pytest.fixture
def shelf(made, write, tmp_path):
    """A corpus of one file, not built yet."""
    made.admin.add_folder(OWNER, "shelf", str(write(tmp_path / "shelf", **{"a.md": "# Apples\n\nApples grow.\n"})))


def html(page):
    assert not page.exception
    return "\n".join(element.value for element in page.main.get("html"))


def words(page):
    return re.sub(r"<[^>]+>", "", html(page))


def url(page):
    return {name: value if isinstance(value, str) else value[-1] for name, value in page.query_params.items()}


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("section", Section)
def test_every_section_is_drawn_and_obeys_no_text(built, section, language):
    page = built(section=section, lang=language)
    shown = html(page)
    assert catalogue(language)["error.title"] not in shown
    assert page.segmented_control(key="admin_section").value == section
    for markup in ("<script", "<b>", "\u202e"):
        assert markup not in shown
    said = {
        Section.CORPORA: "&lt;b&gt;&amp;.pdf",
        Section.JOBS: "&lt;b&gt;&amp;.pdf",
        Section.AUDIT: "&lt;script&gt;alert(1)&lt;/script&gt;",
    }
    without_table = (Section.HEALTH, Section.STORAGE)
    assert said.get(section, "kalm-hint" if section in without_table else "kalm-table") in shown


def test_the_first_visit_offers_to_add_a_corpus_which_a_click_does(open_admin, instant, made, tmp_path):
    page = open_admin()
    assert "No corpus yet" in words(page)
    page.text_input(key="upload__name").input("notes")
    page.segmented_control(key="upload__way").set_value("path").run()
    page.text_input(key="upload__path").input(str(tmp_path / "nowhere"))
    page.button(key="upload__add").click().run()
    assert "There is no folder or file" in words(page)
    page.text_input(key="upload__path").input(str(tmp_path))
    page.button(key="upload__add").click().run()
    assert url(page) == {"corpus": "notes"}
    assert "What a build of notes would do" in words(page)
    assert [corpus.name for corpus in made.catalog.corpora()] == ["notes"]


def test_files_are_uploaded_planned_and_built(open_admin, instant, made, carry_out):
    page = open_admin(EDITOR)
    page.text_input(key="upload__name").input("notes")
    page.file_uploader[0].set_value([("a.md", b"# Apples", "text/markdown"), ("b.exe", b"MZ", "")]).run()
    page.button(key="upload__do").click().run()
    assert "1 file is uploaded. 1 was left out" in words(page)
    assert url(page) == {"corpus": "notes"}
    page.button(key="build").click().run()
    assert url(page) == {"section": "jobs", "corpus": "notes"}
    assert "Build 1 of notes is queued for a worker" in words(page)
    assert "Builds wait, and no worker is running" in words(page)
    carry_out()
    page.run()
    assert "Finished builds" in words(page)
    assert "✓ done" in words(page)


def test_a_build_is_paused_and_cancelled_from_its_card(open_admin, instant, shelf, made):
    run = made.admin.build(OWNER, "shelf")
    page = open_admin(EDITOR, section="jobs")
    page.button(key=f"pause_{run.id}").click().run()
    assert f"Build {run.id}: paused." in words(page)
    page.button(key=f"cancel_{run.id}").click().run()
    assert f"Build {run.id}: cancelled." in words(page)
    assert made.jobs.run(run.id).state is RunState.CANCELLED


def test_a_check_goes_on_when_the_page_is_left(open_admin, instant, shelf, made, carry_out):
    made.admin.build(OWNER, "shelf")
    carry_out()
    made.admin.rebuild(OWNER, "shelf", None, None)
    carry_out()
    number = made.versions.all("shelf")[0].generation.number
    table = TaskTable(made.catalog.database)
    table.add("1", Errand.GATE, "owner", "admin", {"corpus": "shelf", "version": number, "swap": True}, most_waiting=1)
    table.begin("1", os.getpid())
    assert not open_admin(section="versions").exception
    table.fail("1", "It does not pass; build it anew.")
    assert "It does not pass; build it anew." in words(open_admin(section="versions"))


def test_a_version_is_rebuilt_checked_and_put_in_use(open_admin, instant, shelf, made, carry_out):
    made.admin.build(OWNER, "shelf")
    carry_out()
    page = open_admin(section="versions")
    page.button(key="rebuild_do").click().run()
    assert url(page)["section"] == "jobs"
    carry_out()
    page = open_admin(section="versions")
    page.button(key="check").click().run()
    assert "checks passed" in words(page)
    assert "Quality gate" in html(page)
    page.button(key="swap").click().run()
    assert "is in use." in words(page)
    earlier = made.versions.all("shelf")[1].generation.number
    page.button(key=f"rollback_{earlier}").click().run()
    assert f"Version {earlier} is in use again." in words(page)
    page.button(key="force").click().run()
    page.button(key=f"rollback_{earlier}").click().run()
    page.button(key="discard").click().run()
    assert f"Version {earlier + 1} is removed." in words(page)
    assert [each.generation.number for each in made.versions.all("shelf")] == [earlier]


def test_what_was_found_is_listed_and_mended(open_admin, instant, shelf, made):
    table = TaskTable(made.catalog.database)
    table.add("1", EXAMINATION, "owner", "admin", {}, most_waiting=1)
    table.begin("1", os.getpid())
    table.finish("1", made.upkeep.carry_out_examination(OWNER, {}, lambda *_: None))
    page = open_admin(section="health")
    assert "! 1 thing needs attention." in words(page)
    assert "it was never built" in words(page)
    page.button(key="repair_0").click().run()
    assert url(page) == {"section": "jobs", "corpus": "shelf"}
    assert made.jobs.active("shelf").files == 1


def test_a_look_at_the_folder_goes_on_when_the_page_is_left_and_is_shown_again(open_admin, instant, shelf, made):
    table = TaskTable(made.catalog.database)
    table.add("1", Errand.PLAN, "Ed", "editor", {"corpus": "shelf"}, most_waiting=1)
    table.begin("1", os.getpid())
    table.report("1", 0.5, "comparing")
    page = open_admin(EDITOR)
    assert page.get("progress")[0].proto.text == "Comparing files of shelf that may have moved…"
    assert page.button(key="show_plan").disabled
    page.button(key="errand_cancel_1").click().run()
    assert "This was cancelled." in words(page)
    page.button(key="show_plan").click().run()
    assert "What a build of shelf would do" in words(page)
    assert "out of date" not in words(page)
    made.admin.build(OWNER, "shelf")
    assert "out of date" in words(open_admin(EDITOR))


def test_a_plan_for_an_index_that_was_read_otherwise_says_so(open_admin, instant, shelf, made, carry_out, monkeypatch):
    made.admin.build(OWNER, "shelf")
    carry_out()
    monkeypatch.setattr("app.services.indexing.READER_VERSION", "later")
    page = open_admin(EDITOR)
    page.button(key="show_plan").click().run()
    assert "A build is refused" in words(page)
    assert "up to date" not in words(page)


def test_what_cannot_be_entered_as_a_build_says_so_among_the_builds(open_admin, instant, shelf, tmp_path):
    (tmp_path / "shelf").rename(tmp_path / "elsewhere")
    page = open_admin(EDITOR)
    page.button(key="build").click().run()
    assert url(page) == {"section": "jobs", "corpus": "shelf"}
    for shown in (page, open_admin(EDITOR, section="jobs")):
        assert "is not there; put it back" in words(shown)


def test_a_file_that_failed_is_retried_from_its_build(open_admin, instant, shelf, made, carry_out, write, tmp_path):
    write(tmp_path / "shelf", **{"b.pdf": BROKEN})
    run = made.admin.build(OWNER, "shelf")
    carry_out()
    page = open_admin(EDITOR, section="jobs")
    page.button(key=f"retry_{run.id}").click().run()
    assert f"Build {run.id + 1} of shelf is queued for a worker" in words(page)


def test_storage_is_measured_and_models_are_proven_on_request_and_shown_again(open_admin, instant, shelf, made):
    page = open_admin(section="storage")
    assert "Nothing has been measured yet." in words(page)
    page.button(key="measure").click().run()
    for shown in (page, open_admin(section="storage")):
        assert "Measured on" in words(shown)
        assert "Catalog" in words(shown)
    page = open_admin(section="models")
    page.selectbox(key="prove_model").set_value(made.encoders.default_source).run()
    page.button(key="prove_do").click().run()
    for shown in (page, open_admin(section="models")):
        assert "does what it should: 32 dimensions" in words(shown)
        assert re.search(r"passed \d+ \w+ \d{4}|passed \w+ \d+, \d{4}", words(shown))


def test_removing_takes_the_name_typed_again(open_admin, instant, shelf, made):
    page = open_admin(corpus="shelf")
    page.text_input(key="remove_shelf").input("shelves")
    page.button(key="remove").click().run()
    assert "type shelf to confirm" in words(page)
    page.text_input(key="remove_shelf").input("shelf")
    page.button(key="remove").click().run()
    assert "shelf is removed." in words(page)
    assert made.catalog.corpora() == []


def test_an_editor_sees_two_sections_and_a_viewer_none(built):
    page = built(EDITOR, section="settings")
    assert page.segmented_control(key="admin_section").options == ["Corpora", "Builds"]
    assert not [button for button in page.button if button.key in ("remove", "start_worker")]
    page = built(Person("Vi", Role.VIEWER))
    assert "This needs the role editor, and Vi is viewer" in words(page)
    assert not page.segmented_control or len(page.segmented_control) == 1


def test_a_bug_is_told_calmly_and_logged(open_admin, made, monkeypatch, caplog):
    def broken(*_):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(type(made.jobs), "runs", broken)
    page = open_admin(section="jobs")
    assert "Something unexpected happened" in words(page)
    assert "out of memory" in caplog.text


@given(st.text(), st.sampled_from(Section), st.text(), st.sampled_from(["", *LANGUAGES]))
def test_the_address_says_what_is_shown(corpus, section, found, interface):
    seen = AdminState.from_params({"corpus": [corpus], "words": [found]})
    state = AdminState(section, seen.corpus, seen.words, interface)
    assert AdminState.from_params(state.to_params()) == state


def test_every_section_is_for_admins_and_only_two_for_editors():
    assert sections_for(Role.ADMIN) == tuple(Section)
    assert sections_for(Role.EDITOR) == (Section.CORPORA, Section.JOBS)
    assert sections_for(Role.VIEWER) == ()


def test_the_log_is_filtered_and_exported_without_formulas():
    when = datetime(2026, 3, 5, tzinfo=UTC)
    entries = [
        AuditEntry(when, "Mei", "corpus.add", "books", {"path": "/srv"}),
        AuditEntry(when, "=cmd()", "run.cancel", "@x", {}),
    ]
    assert matching(entries, "mei BOOKS") == entries[:1]
    assert matching(entries, "") == entries
    assert as_csv(entries).decode("utf-8-sig").splitlines()[1:] == [
        "2026-03-05T00:00:00+00:00,Mei,corpus.add,books,path: /srv",
        "2026-03-05T00:00:00+00:00,'=cmd(),run.cancel,'@x,",
    ]


@given(st.text(), st.text())
def test_any_text_is_a_cell(caption, cell):
    made = pieces.table(caption, [cell], [[cell], [pieces.badge(cell, "bad")]], Translator("en"))
    assert made.count("<td") == made.count("</td>") == 2
    assert "<script" not in made


def test_quantities_are_told_as_people_read_them():
    t = Translator("en")
    assert [pieces.size(n) for n in (0, 999, 1500, 250_000, 3.2e9, 5e15)] == [
        "0 B",
        "999 B",
        "1.5 KB",
        "250 KB",
        "3.2 GB",
        "5,000.0 TB",
    ]
    assert [pieces.duration(n, t) for n in (5, 600, 7200)] == ["5 s", "10 min", "2.0 h"]


def test_every_state_has_wording():
    assert {f"admin.state.{state}" for state in RunState} <= catalogue("en").keys()
    assert {f"admin.errand.{errand.name.lower()}" for errand in Errand} <= catalogue("en").keys()
