"""Corpora at addresses: in memory, and on a web server of the test's own that can misbehave."""

import functools
import os
import sys
import threading
from dataclasses import replace
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import fsspec
import pytest

from indexer.readers import Limits, UnreadableFile
from indexer.records import RunState
from indexer.search import Mode, SearchRequest
from indexer.sources.downloads import Downloads
from indexer.sources.folders import file_filter
from indexer.sources.remote import RemoteError, RemoteFolder

EVERY = file_filter(())


@pytest.fixture
def memory():
    """A folder in memory."""
    files = fsspec.filesystem("memory")
    yield lambda **contents: [files.pipe(f"/docs/{name}", text.encode()) for name, text in contents.items()]
    files.store.clear()
    files.pseudo_dirs[:] = [""]


class _Handler(SimpleHTTPRequestHandler):
    """Serves a folder; what is in ``broken`` is answered with that status."""

    def __init__(self, *args, site, **kwargs):
        self.site = site
        super().__init__(*args, directory=str(site.root), **kwargs)

    def send_head(self):
        self.site.asked.append((self.command, self.path))
        if self.path in self.site.broken:
            self.send_error(self.site.broken[self.path])
            return None
        return super().send_head()

    def log_message(self, *args):
        pass


class Site:
    """A web server on a folder."""

    def __init__(self, root):
        self.root, self.asked, self.broken = root, [], {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Handler, site=self))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def fetched(self):
        """Names of files that were fetched since this was last asked."""
        names = [path.rpartition("/")[2] for command, path in self.asked if command == "GET"]
        self.asked.clear()
        return sorted(name for name in names if name)

    def close(self):
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def site(tmp_path):
    (tmp_path / "site").mkdir()
    opened = Site(tmp_path / "site")
    yield opened
    opened.close()


@pytest.fixture
def shelf(bench, site):
    """A bench whose corpus is on the web server."""
    bench.root = site.root
    bench.catalog.remove_corpus("books")
    bench.catalog.add_corpus("books", site.url)
    parts, downloads = bench.parts, Downloads(bench.data / "downloads", 10_000)
    bench.parts = lambda *args, **more: replace(parts(*args, **more), downloads=downloads)
    bench.write("a.md", "# Apples\n\nApples grow on trees.\n")
    bench.write("sub/bees.txt", "Bees make honey.\n")
    return bench


def found(bench, query):
    page = bench.searcher.search(SearchRequest("books", query, Mode.KEYWORD, 1, 50))
    return sorted(result.uri for result in page.results)


# Addresses


@pytest.mark.parametrize(
    "url",
    [
        "s3://key:secret@bucket/folder",
        "s3://key:sec/ret@bucket/folder",
        "https://secret@example.org/",
        "https://key:secret@example.org/",
        "sftp://me:secret@example.org/docs",
        "https://example.org/docs?signature=secret",
    ],
)
def test_an_address_with_credentials_is_refused_without_quoting_them(url):
    with pytest.raises(RemoteError, match="give it to the driver of .*:// by the environment") as refused:
        RemoteFolder(url)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("url", ["/docs", "s3:/bucket", "zip://x::s3://bucket", "simplecache::s3://bucket"])
def test_what_is_no_plain_address_is_refused(url):
    with pytest.raises(RemoteError, match="^The address cannot be read; write it as PROTOCOL://FOLDER"):
        RemoteFolder(url)


@pytest.mark.parametrize("url", ["hf://datasets/owner/name@main", "abfs://box@account.dfs.core.windows.net/x"])
def test_an_at_sign_alone_is_no_credential(url):
    assert RemoteFolder(url).url == url


def test_a_driver_that_is_missing_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(RemoteError, match=r"^There is no driver for s3:// here; run pip install s3fs where"):
        RemoteFolder("s3://bucket/folder").check()
    with pytest.raises(RemoteError, match="^Nothing is known of nowhere://"):
        RemoteFolder("nowhere://folder").check()


# Listing


def test_a_folder_is_listed_with_all_below_it_but_what_is_hidden(memory):
    memory(**{"a.md": "A", "deep/er/b.md": "B", ".hidden/c.md": "C", "deep/.d.md": "D", "e.exe": "E"})
    memory(**{"nul\x00.md": "F", "half\ud800.md": "G", "deep//twice.md": "H"})
    listed = RemoteFolder("memory://docs").find(EVERY)
    assert {uri: file.size for uri, file in listed.items()} == {"a.md": 1, "deep/er/b.md": 1}
    assert list(RemoteFolder("memory://docs").find(file_filter(("deep/*",)))) == ["deep/er/b.md"]
    assert list(RemoteFolder("memory://docs/a.md").find(EVERY)) == ["a.md"]


def test_a_file_written_again_has_another_stamp(memory):
    memory(**{"a.md": "A", "b.md": "B"})
    before = RemoteFolder("memory://docs").find(EVERY)
    memory(**{"a.md": "Z"})
    after = RemoteFolder("memory://docs").find(EVERY)
    assert before["a.md"].mtime_ns != after["a.md"].mtime_ns
    assert before["b.md"] == after["b.md"]


def test_what_is_not_there_or_empty_is_an_error_and_never_an_empty_corpus(memory, site):
    with pytest.raises(RemoteError, match=r"^memory://none cannot be had \(it is not there\); check the address"):
        RemoteFolder("memory://none").find(EVERY)
    memory(**{"a.exe": "A"})
    with pytest.raises(RemoteError, match="^memory://docs lists no file that is read; check the address"):
        RemoteFolder("memory://docs").find(EVERY)
    with pytest.raises(RemoteError, match="lists no file that is read"):
        RemoteFolder(site.url).find(EVERY)


def test_a_listing_is_whole_or_fails(site):
    (site.root / "sub").mkdir()
    (site.root / "a b.md").write_text("A")
    (site.root / "sub" / "蜂.md").write_text("B")
    assert set(RemoteFolder(site.url).find(EVERY)) == {"a b.md", "sub/蜂.md"}
    site.broken = {"/sub/": 503}
    with pytest.raises(RemoteError, match=rf"^{site.url} cannot be had \(503, .*\); check the address"):
        RemoteFolder(site.url).find(EVERY)
    site.broken = {"/sub/": 404}  # gone since the folder above was listed
    assert set(RemoteFolder(site.url).find(EVERY)) == {"a b.md"}


# Building


def test_names_of_a_web_server_that_are_not_utf8_stay_apart(site):
    for name in (b"\xd7\xca.txt", b"\xb1\xa8.txt"):
        with open(os.fsencode(site.root) + b"/" + name, "w") as file:
            file.write("honey")
    assert len(RemoteFolder(site.url).find(lambda _: True)) == 2


def test_a_build_fetches_what_is_new_and_the_next_what_changed(shelf, site):
    assert shelf.build().documents == 2
    assert site.fetched() == ["a.md", "bees.txt"]
    assert found(shelf, "honey") == ["sub/bees.txt"]
    shelf.write("sub/bees.txt", "Bees make wax as well.\n")
    shelf.write("c.txt", "Cats sleep.\n")
    report = shelf.build()
    assert (report.documents, report.removed, site.fetched()) == (2, 0, ["bees.txt", "c.txt"])
    (shelf.root / "a.md").unlink()
    assert (shelf.build().removed, site.fetched()) == (1, [])
    assert (found(shelf, "honey"), found(shelf, "wax"), found(shelf, "apples")) == ([], ["sub/bees.txt"], [])
    assert shelf.build(fresh=True).documents == 2
    assert site.fetched() == []  # kept since


def test_a_file_that_cannot_be_had_is_a_failed_row_and_is_tried_again(shelf, site):
    shelf.build()
    before = shelf.catalog.live_number("books")
    shelf.write("c.txt", "Cats sleep.\n")
    shelf.write("a.md", "# Pears\n\nPears grow on trees, too.\n")
    run = shelf.submit()
    site.broken = {"/a.md": 500}
    parts = shelf.parts()
    report = parts.report(parts.work(run.id, on_progress=lambda _: None))
    assert list(report.failed) == ["a.md"]
    assert report.failed["a.md"].startswith("The file cannot be fetched (500, ")
    assert (found(shelf, "apples"), found(shelf, "cats")) == (["a.md"], ["c.txt"])
    assert shelf.catalog.live_number("books") > before
    site.broken = {}
    assert shelf.build().documents == 1
    assert (found(shelf, "apples"), found(shelf, "pears")) == ([], ["a.md"])


def test_a_file_that_went_since_the_plan_is_a_failed_row(shelf):
    run = shelf.submit()
    (shelf.root / "a.md").unlink()
    parts = shelf.parts()
    report = parts.report(parts.work(run.id, on_progress=lambda _: None))
    assert list(report.failed) == ["a.md"]
    assert "is gone since the build was planned" in report.failed["a.md"]


def test_a_server_that_goes_away_fails_the_run_and_the_index_in_use_stays(shelf, site):
    shelf.build()
    live = shelf.catalog.live_number("books")
    shelf.write("c.txt", "Cats sleep.\n")
    run = shelf.submit()
    site.close()
    parts = shelf.parts()
    sentence = rf"^{site.url} cannot be had \(.*onnect.*\); check the address, the network"
    with pytest.raises(RemoteError, match=sentence):
        parts.work(run.id, on_progress=lambda _: None)
    failed = parts.jobs.run(run.id)
    assert failed.state is RunState.FAILED
    assert failed.error.startswith(f"{site.url} cannot be had")
    assert shelf.catalog.live_number("books") == live
    assert found(shelf, "honey") == ["sub/bees.txt"]
    with pytest.raises(RemoteError, match=sentence):
        shelf.submit()


def test_a_file_larger_than_is_read_is_not_fetched_to_its_end(site, tmp_path, monkeypatch):
    (site.root / "a.md").write_bytes(b"x" * 10_000_000)
    monkeypatch.setattr("indexer.sources.remote.Limits", lambda: Limits(file_bytes=1000))
    with pytest.raises(UnreadableFile, match=r"^The file is larger than 1000 bytes; split it and index the parts\.$"):
        RemoteFolder(site.url).fetch("a.md", tmp_path / "fetched")
    assert (tmp_path / "fetched").stat().st_size < 10_000_000
