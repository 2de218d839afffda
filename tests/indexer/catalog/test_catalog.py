"""The catalog: generations of rows, one flip, nothing half done."""

import multiprocessing
import re
from pathlib import Path

import pytest
from sqlalchemy import create_engine, event, text

from indexer.catalog import staging
from indexer.catalog.corpora import Catalog, CatalogError
from indexer.catalog.documents import Documents
from indexer.catalog.jobs import Jobs
from indexer.records import (
    ChunkPlace,
    Document,
    FileOutcome,
    FileState,
    IndexedDocument,
    Manifest,
    PlannedFile,
    Section,
)

MANIFEST = Manifest("m", "f", 8, "float32", 256, "c1", "r1", "l1", "edge")


@pytest.fixture
def catalog_url(any_catalog_url):
    """Every test below runs on SQLite and on PostgreSQL."""
    return any_catalog_url


@pytest.fixture
def catalog(catalog_url, tmp_path):
    opened = Catalog(catalog_url)
    opened.add_corpus("books", tmp_path)
    yield opened
    opened.close()


def indexed(uri, digest="1", language="en", file_type="text"):
    document = Document(uri, f"Title of {uri}", "text", (Section(0, 4, ("H",), 2),), file_type, language=language)
    return IndexedDocument(document.id("books"), document, digest, (ChunkPlace(f"chunk-{uri}-{digest}", 0, 4),))


def state(error=""):
    return FileState(1, 2, "digest", error)


def begin(catalog, base=None):
    with catalog.database.writing() as session:
        return staging.begin(session, "books", MANIFEST, base)


def stage(catalog, number, base, uri, outcome):
    with catalog.database.writing() as session:
        staging.stage(session, "books", number, base, {uri: outcome})


def build(catalog, documents, *, gone=(), removed=(), fresh=False, errors=None):
    """A generation with these documents, each a file; ``gone`` files and ``removed`` documents leave."""
    base = None if fresh else catalog.live_number("books")
    number = begin(catalog, base)
    for document in documents:
        stage(catalog, number, base, document.document.uri, FileOutcome(state(), "", (document,), tuple(removed)))
    for uri, error in (errors or {}).items():
        stage(catalog, number, base, uri, FileOutcome(state(error), error))
    with catalog.database.writing() as session:
        staging.remove(session, "books", number, gone)
    with catalog.database.writing() as session:
        staging.seal(session, "books", number, len(documents))
        staging.make_live(session, "books", number)
    return number


def test_a_corpus_is_entered_once_and_a_name_stands_for_one_folder(catalog, tmp_path):
    catalog.add_corpus("books", tmp_path)
    assert [corpus.name for corpus in catalog.corpora()] == ["books"]
    with pytest.raises(CatalogError, match=r"books already stands for .* kalm corpus remove books"):
        catalog.add_corpus("books", tmp_path / "other")
    with pytest.raises(CatalogError, match=r"already stands for"):
        catalog.add_corpus("books", tmp_path, ("*.md",))
    with pytest.raises(CatalogError, match="There is no corpus films; there are books"):
        catalog.corpus("films")


def test_nothing_is_seen_before_the_commit(catalog):
    first = build(catalog, [indexed("a"), indexed("b")])
    number = begin(catalog, first)
    stage(catalog, number, first, "a", FileOutcome(state(), "", (indexed("a", digest="2"),)))
    with catalog.database.writing() as session:
        assert staging.remove(session, "books", number, ["b"]) == 1
    assert catalog.live_number("books") == first
    assert (_digests(catalog, first, "a"), _digests(catalog, number, "a")) == (["1"], ["2"])
    assert (catalog.files("books", first).keys(), catalog.files("books", number).keys()) == ({"a", "b"}, {"a"})
    with pytest.raises(ValueError, match="not sealed"), catalog.database.writing() as session:
        staging.make_live(session, "books", number)


@pytest.mark.parametrize("fresh", [False, True])
def test_entering_a_file_again_is_as_if_only_the_last_time_were(catalog, fresh):
    first = build(catalog, [indexed("a"), indexed("b")])
    base = None if fresh else first
    number = begin(catalog, base)
    stage(catalog, number, base, "a", FileOutcome(state(), "", (indexed("a", digest="2"),)))
    stage(catalog, number, base, "a", FileOutcome(state("broken"), "broken"))
    assert _digests(catalog, number, "a") == ([] if fresh else ["1"])
    assert catalog.failed_files("books", number) == {"a": "broken"}
    stage(catalog, number, base, "a", FileOutcome(None, "gone"))
    assert catalog.failed_files("books", number) == {"a": "broken"}
    for _ in range(2):
        stage(catalog, number, base, "a", FileOutcome(state(), "", (indexed("a", digest="3"),)))
    assert _digests(catalog, number, "a") == ["3"]
    assert [document.digest for document in Documents(catalog.database).staged("books", number)] == ["3"]
    assert catalog.replaced_chunks("books", number) == ({"chunk-a-1", "chunk-b-1"} if fresh else {"chunk-a-1"})
    assert (_digests(catalog, first, "a"), catalog.failed_files("books", first)) == (["1"], {})


def test_staged_documents_read_back_as_they_were_entered(catalog):
    documents = [indexed(f"{n:03}", language="zh") for n in range(130)]
    number = begin(catalog)
    for document in documents:
        stage(catalog, number, None, document.document.uri, FileOutcome(state(), "", (document,)))
    assert list(Documents(catalog.database).staged("books", number)) == documents


def test_a_committed_generation_reads_back(catalog):
    number = build(catalog, [indexed("a"), indexed("b", language="zh", file_type="pdf")], errors={"c": "broken"})
    assert catalog.live_number("books") == number
    generation = catalog.generation("books", number)
    assert (generation.manifest, generation.documents, generation.chunks) == (MANIFEST, 2, 2)
    assert catalog.files("books", number).keys() == {"a", "b", "c"}
    assert catalog.failed_files("books", number) == {"c": "broken"}
    known = catalog.known_documents("books", number, "a")
    assert [(document.digest, document.chunk_ids) for document in known.values()] == [("1", ("chunk-a-1",))]
    assert catalog.facet("books", number, "language", {}) == [("en", 1), ("zh", 1)]
    assert catalog.facet("books", number, "language", {"file_type": {"pdf"}}) == [("zh", 1)]
    assert catalog.file("books", number, "a") == catalog.files("books", number)["a"]
    assert catalog.file("books", number, "z") is None
    held = Documents(catalog.database)
    assert {(one.title, one.text) for one in held.beginnings("books", number, 3)} == {
        ("Title of a", "tex"),
        ("Title of b", "tex"),
    }
    assert len(held.beginnings("books", number, 3, limit=1)) == 1


def test_each_generation_keeps_its_own_documents(catalog):
    first = build(catalog, [indexed("a"), indexed("b"), indexed("c")])
    second = build(
        catalog,
        [indexed("a", digest="2")],
        gone=["b"],
    )
    assert {uri: _digests(catalog, first, uri) for uri in "abc"} == {"a": ["1"], "b": ["1"], "c": ["1"]}
    assert {uri: _digests(catalog, second, uri) for uri in "abc"} == {"a": ["2"], "b": [], "c": ["1"]}
    assert catalog.files("books", first).keys() == {"a", "b", "c"}
    assert catalog.files("books", second).keys() == {"a", "c"}
    assert catalog.generation("books", second).documents == 2


def _digests(catalog, number, uri):
    return [known.digest for known in catalog.known_documents("books", number, uri).values()]


def test_a_fresh_generation_carries_nothing_over(catalog):
    build(catalog, [indexed("a"), indexed("b")])
    number = build(catalog, [indexed("b", digest="2")], fresh=True)
    assert catalog.files("books", number).keys() == {"b"}
    assert _digests(catalog, number, "a") == []
    assert _digests(catalog, number, "b") == ["2"]


def test_what_a_dead_build_left_is_swept_by_the_next(catalog):
    first = build(catalog, [indexed("a")])
    dead = begin(catalog)
    stage(catalog, dead, None, "x", FileOutcome(state(), "", (indexed("x"), indexed("y"))))
    number = build(catalog, [indexed("b")])
    assert number > dead > first
    assert catalog.files("books", number).keys() == {"a", "b"}
    assert catalog.facet("books", number, "language", {}) == [("en", 2)]


def test_pruning_keeps_the_newest_generations_and_their_rows(catalog):
    numbers = [build(catalog, [indexed("a", digest=str(n))]) for n in range(4)]
    assert catalog.prune("books") == numbers[:2]
    assert _digests(catalog, numbers[2], "a") == ["2"]
    assert _digests(catalog, numbers[3], "a") == ["3"]
    assert catalog.prune("books") == []


def test_pruning_keeps_the_live_generation_however_old_and_counts_finished_ones_alone(catalog):
    numbers = [build(catalog, [indexed("a", digest=str(n))]) for n in range(3)]
    begin(catalog, numbers[2])
    catalog.put_in_use("books", numbers[0])
    assert catalog.prune("books") == []
    assert _digests(catalog, numbers[0], "a") == ["0"]
    catalog.put_in_use("books", numbers[2])
    assert catalog.prune("books") == numbers[:1]
    assert [_digests(catalog, number, "a") for number in numbers] == [[], ["1"], ["2"]]
    catalog.remove_corpus("books")
    assert catalog.prune("books") == []


def test_as_many_generations_are_kept_as_are_wanted(catalog_url, tmp_path):
    catalog = Catalog(catalog_url, kept_versions=3)
    catalog.add_corpus("books", tmp_path)
    numbers = [build(catalog, [indexed("a", digest=str(n))]) for n in range(4)]
    assert catalog.prune("books") == numbers[:1]
    assert [_digests(catalog, number, "a") for number in numbers[1:]] == [["1"], ["2"], ["3"]]
    catalog.close()


def test_removing_a_corpus_leaves_nothing(catalog, catalog_url):
    build(catalog, [indexed("a")])
    Jobs(catalog.database).submit("books", [PlannedFile("a", b"a", 1, 1)], MANIFEST, None, by="test")
    catalog.remove_corpus("books")
    engine = create_engine(catalog_url)
    with engine.connect() as connection:
        for table in ("corpora", "generations", "files", "documents", "runs", "tasks"):
            assert connection.execute(text(f"SELECT COUNT(*) FROM {table}")).scalar() == 0
    engine.dispose()


def test_a_reader_sees_one_state_whatever_is_written_meanwhile(catalog, tmp_path):
    count = text("SELECT COUNT(*) FROM corpora")
    with catalog.database.reading() as session:
        assert session.scalar(count) == 1
        catalog.add_corpus("films", tmp_path)
        assert session.scalar(count) == 1
    assert len(catalog.corpora()) == 2


def test_a_database_that_is_none_is_one_sentence(tmp_path):
    (tmp_path / "catalog.sqlite").write_bytes(b"not a database at all, but long enough to be looked at")
    with pytest.raises(CatalogError, match=r"The catalog 'sqlite:.* cannot be opened \(.*\); check KALM_DATABASE_URL"):
        Catalog(f"sqlite:///{tmp_path}/catalog.sqlite")
    with pytest.raises(CatalogError, match="cannot be opened"):
        Catalog("nonsense")


def test_a_catalog_of_a_newer_version_is_one_sentence(catalog, catalog_url):
    engine = create_engine(catalog_url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = 'm999'"))
    engine.dispose()
    with pytest.raises(CatalogError, match=r"^The catalog was made by another version .*'m999'\); run the newest"):
        Catalog(catalog_url)


ROUNDS = 10


def _write_beside_others(url, worker, numbers, failures):
    """Open a catalog that nobody has opened yet; enter corpora of one's own, and generations of one that all share."""
    try:
        catalog = Catalog(url)
        catalog.add_corpus("shared", Path("/shared"))
        for n in range(ROUNDS):
            catalog.add_corpus(f"corpus-{worker}-{n}", Path("/own"))
            numbers.put(catalog.reserve("shared", MANIFEST, None))
        catalog.close()
    except Exception as error:
        failures.put(repr(error))


def test_several_processes_open_migrate_and_write_a_new_catalog_at_once(catalog_url):
    spawn = multiprocessing.get_context("spawn")
    numbers, failures = spawn.Queue(), spawn.Queue()
    workers = [spawn.Process(target=_write_beside_others, args=(catalog_url, n, numbers, failures)) for n in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert failures.empty(), failures.get()
    given = sorted(numbers.get() for _ in range(3 * ROUNDS))
    assert given == list(range(given[0], given[0] + 3 * ROUNDS)), "two builds were given the same number"
    catalog = Catalog(catalog_url)
    assert len(catalog.corpora()) == 1 + 3 * ROUNDS
    catalog.close()


def test_near_duplicates_belong_to_their_generation(catalog):
    tale = "a bee met a wasp by the river and asked for the way to the lime tree"

    def told(uri, text, digest="1"):
        document = Document(uri, uri, text, (), "text")
        return IndexedDocument(document.id("books"), document, digest, ())

    first, second, third = told("first", tale), told("second", f"{tale} again"), told("third", "quite another story")
    before = build(catalog, [first, second, third, told("empty", "…")])
    found = catalog.near_duplicates("books", before, [first.id, third.id])
    assert {id: [twin.uri for twin in twins] for id, twins in found.items()} == {first.id: ["second"]}
    changed = told("second", "something else by now", digest="2")
    after = build(catalog, [changed])
    assert catalog.near_duplicates("books", after, [first.id, second.id]) == {}
    assert list(catalog.near_duplicates("books", before, [second.id])) == [second.id]
    catalog.remove_corpus("books")
    assert catalog.near_duplicates("books", after, [first.id]) == {}


def test_the_documents_of_a_file_are_found_without_a_look_at_the_others(tmp_path):
    catalog, asked = Catalog(f"sqlite:///{tmp_path}/catalog.sqlite"), []
    catalog.add_corpus("books", tmp_path)
    engine = catalog.database._engine
    event.listen(engine, "before_cursor_execute", lambda _, __, sql, values, *rest: asked.append((sql, values)))
    catalog.known_documents("books", 3, "a")
    with catalog.database.writing() as session:
        staging.stage(session, "books", 3, 2, {"a": FileOutcome(state(), "", (indexed("a"),), ("gone",))})
        is_about = re.compile(r"(SELECT|UPDATE|DELETE)\b.*\bdocuments\b", re.DOTALL).match
        touching = [(sql, values) for sql, values in asked if is_about(sql)]
        plans = [
            session.connection().exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", values).all() for sql, values in touching
        ]
        steps = [next(row[3] for row in plan if " documents " in row[3]) for plan in plans]
    assert len(steps) >= 4
    assert all(re.search(r"documents_by_(file|id) \(corpus=\? AND (uri|document_id)=\?", step) for step in steps), steps
    catalog.close()
