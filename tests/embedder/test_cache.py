"""The cache gives back what was put in, whatever happens to the processes that write it."""

import random
import sqlite3
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from embedder.cache import CachedEncoder, CacheUnreadable, VectorCache
from embedder.encoder import InvalidInput

ROOT = Path(__file__).resolve().parents[2]
TEXTS = ["bees make honey", "蜜蜂酿造蜂蜜", "", "word " * 200, "\ud800"]

DERIVED = '''
import sys
from pathlib import Path
import numpy as np
from embedder.cache import VectorCache

def vector_of(key):
    """The only vector that may stand under a key."""
    return np.random.default_rng(list(key)).random(64, dtype=np.float32)
'''
exec(DERIVED, derived := {})
vector_of = derived["vector_of"]


def start(script, *arguments, **options):
    """Run a script in a process of its own."""
    command = [sys.executable, "-c", DERIVED + script, *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


@pytest.fixture
def cache(tmp_path):
    opened = VectorCache(tmp_path / "new folder" / "vectors.sqlite")
    yield opened
    opened.close()


@pytest.fixture
def clock(monkeypatch):
    """The cache's time, in seconds: set ``clock.now``."""
    clock = SimpleNamespace(now=0)
    monkeypatch.setattr("embedder.cache.time", SimpleNamespace(**vars(time) | {"time": lambda: clock.now}))
    return clock


def put_derived(cache, *names):
    cache.put({name.encode(): vector_of(name.encode()) for name in names})


def test_what_was_put_is_got(cache):
    put_derived(cache, *(f"key {i}" for i in range(1200)))  # more than one query asks for
    keys = [f"key {i}".encode() for i in range(1201)]
    found = cache.get(keys)
    assert found.keys() == set(keys[:-1])
    assert all(np.array_equal(vector, vector_of(key)) for key, vector in found.items())
    assert (len(cache), cache.get([])) == (1200, {})


def test_a_key_put_again_has_its_last_vector(cache):
    put_derived(cache, "a")
    cache.put({b"a": np.ones(3, dtype=np.float64)})
    assert (len(cache), cache.get([b"a"])[b"a"].tolist()) == (1, [1, 1, 1])


def test_what_was_put_is_there_when_the_file_is_opened_again(tmp_path):
    first = VectorCache(tmp_path / "vectors.sqlite")
    put_derived(first, "a")
    first.close()
    assert np.array_equal(VectorCache(tmp_path / "vectors.sqlite").get([b"a"])[b"a"], vector_of(b"a"))


@pytest.mark.parametrize("dim", [32, 16, 8])
def test_cached_vectors_are_exactly_the_encoders(encoder, cache, dim):
    resized = encoder.resized(dim)
    cached = CachedEncoder(resized, cache)
    expected = resized.encode_documents(TEXTS)
    first, second = cached.encode_documents(TEXTS), cached.encode_documents(TEXTS)
    assert np.array_equal(first, expected)
    assert np.array_equal(second, expected)
    assert (second.dtype, len(cache)) == (np.float32, len(TEXTS))


def test_one_vector_serves_every_width(encoder, cache):
    CachedEncoder(encoder.resized(8), cache).encode_documents(TEXTS)
    before = encoder.usage.texts
    wide = CachedEncoder(encoder, cache).encode_documents(TEXTS)
    narrow = CachedEncoder(encoder, cache).resized(16).encode_documents(TEXTS)
    assert encoder.usage.texts == before
    assert np.array_equal(wide, encoder.encode_documents(TEXTS))
    assert np.array_equal(narrow, encoder.resized(16).encode_documents(TEXTS))


@dataclass
class FakeEncoder:
    """Counts the texts it is given; their vectors are their lengths."""

    fingerprint: str = "f"
    dtype: str = "float32"
    max_tokens: int = 128
    dim: int = 2
    dims: tuple[int, ...] = (2,)
    encoded: list[str] = field(default_factory=list)

    def resized(self, dim):
        return self

    def prompt(self, side, task="Retrieval", instruction=None):
        return task

    def encode_documents(self, texts, *, task="Retrieval"):
        self.encoded.extend(texts)
        return np.array([[len(text), 1] for text in texts], dtype=np.float32).reshape(-1, 2)


def test_only_new_texts_are_encoded_each_once_in_order(cache):
    fake = FakeEncoder()
    cached = CachedEncoder(fake, cache)
    assert cached.encode_documents(["a", "bb", "a"])[:, 0].tolist() == [1, 2, 1]
    assert cached.encode_documents(["ccc", "bb", "ccc", "a"])[:, 0].tolist() == [3, 2, 3, 1]
    assert fake.encoded == ["a", "bb", "ccc"]
    assert cached.encode_documents([]).shape == (0, 2)


@pytest.mark.parametrize("change", [{"fingerprint": "g"}, {"dtype": "bfloat16"}, {"max_tokens": 64}], ids=str)
def test_another_model_misses(cache, change):
    fake = FakeEncoder()
    CachedEncoder(fake, cache).encode_documents(["a"])
    CachedEncoder(replace(fake, **change), cache).encode_documents(["a"])
    CachedEncoder(replace(fake), cache).encode_documents(["a"])
    assert fake.encoded == ["a", "a"]  # the list is shared; the third found the first's


def test_another_prompt_or_text_misses(cache):
    cached = CachedEncoder(fake := FakeEncoder(), cache)
    for task, text in [("STS", "a"), ("Retrieval", "a"), ("STS", "a "), ("ST", "Sa"), ("STS", "a")]:
        cached.encode_documents([text], task=task)
    assert fake.encoded == ["a", "a", "a ", "Sa"]


def test_queries_are_not_kept(encoder, cache):
    cached = CachedEncoder(encoder, cache)
    assert np.array_equal(cached.encode_queries(["bees"]), encoder.encode_queries(["bees"]))
    assert len(cache) == 0


def test_a_cached_encoder_says_of_itself_what_its_encoder_says(encoder, cache):
    cached = CachedEncoder(encoder, cache)
    for name in ("name", "source", "languages", "dim", "dims", "dtype", "max_tokens", "fingerprint"):
        assert getattr(cached, name) == getattr(encoder, name)
    assert cached.prompt("query", "STS") == encoder.prompt("query", "STS")
    assert np.array_equal(cached.token_spans("bees"), encoder.token_spans("bees"))
    assert cached.resized(8).dim == 8


@pytest.mark.parametrize("texts", ["one text", ["a", None], None], ids=["a string", "a None in it", "None"])
def test_what_the_encoder_refuses_the_cached_one_refuses(encoder, cache, refused, texts):
    with refused(InvalidInput, "list of texts"):
        CachedEncoder(encoder, cache).encode_documents(texts)


def test_the_file_stays_near_its_bound(tmp_path):
    """Filled five times over; never further above than one write and the pages around it."""
    bound, rows = 256 * 1024, 16
    cache = VectorCache(tmp_path / "vectors.sqlite", max_bytes=bound)
    for batch in range(80):
        put_derived(cache, *(f"{batch}/{i}" + "x" * 1000 for i in range(rows)))
        assert cache.size_bytes() <= bound
    assert cache.size_bytes() > bound / 2
    assert (tmp_path / "vectors.sqlite").stat().st_size <= bound + 2 * rows * 4096


def test_the_least_recently_used_go_first(tmp_path, clock):
    cache = VectorCache(tmp_path / "vectors.sqlite", max_bytes=256 * 1024)
    used, unused = ([f"{kind} {i}".encode() for i in range(20)] for kind in ("used", "unused"))
    cache.put({key: np.zeros(1000) for key in used})
    clock.now = 10
    cache.put({key: np.zeros(1000) for key in unused})
    clock.now = 5000
    cache.get(used)
    clock.now = 6000
    fillers = [b"filler %d" % i for i in range(100)]
    for count, key in enumerate(fillers, start=1):
        cache.put({key: np.zeros(1000)})
        if len(cache) < len(used) + len(unused) + count:
            break  # the bound was reached, and some were dropped
    assert 0 < len(cache.get(unused)) < len(unused)
    assert len(cache.get(used)) == len(used)
    assert len(cache.get(fillers[:count])) == count


def test_a_write_larger_than_the_bound_does_no_harm(tmp_path):
    cache = VectorCache(tmp_path / "vectors.sqlite", max_bytes=64 * 1024)
    encoder = CachedEncoder(FakeEncoder(), cache)
    texts = [f"text {i}" for i in range(5000)]
    assert encoder.encode_documents(texts)[:, 0].tolist() == [len(text) for text in texts]
    assert cache.size_bytes() <= 64 * 1024


def test_a_file_that_is_no_database_is_refused(tmp_path, refused):
    path = tmp_path / "vectors.sqlite"
    path.write_bytes(b"garbage" * 1000)
    with refused(CacheUnreadable, str(path), "delete the file"):
        VectorCache(path)


def test_a_file_of_another_version_is_refused(tmp_path, refused):
    path = tmp_path / "vectors.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with refused(CacheUnreadable, str(path), "99", "delete the file"):
        VectorCache(path)


def test_a_file_damaged_within_is_refused_when_it_is_read(tmp_path, refused):
    path = tmp_path / "vectors.sqlite"
    cache = VectorCache(path)
    put_derived(cache, *map(str, range(500)))
    cache.close()
    content = bytearray(path.read_bytes())
    content[4096:] = b"\xa5" * (len(content) - 4096)
    path.write_bytes(content)
    with refused(CacheUnreadable, str(path), "delete the file"):
        VectorCache(path).get([str(i).encode() for i in range(500)])


def test_a_new_file_that_another_process_is_making_is_waited_for(tmp_path):
    """SQLite does not wait by itself for the change to write-ahead mode."""
    path = tmp_path / "vectors.sqlite"
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    timer = threading.Timer(0.3, lambda: other.execute("COMMIT"))
    timer.start()
    try:
        assert len(VectorCache(path)) == 0
    finally:
        timer.join()
        other.close()


def test_threads_share_a_cache(cache):
    def work(thread):
        for i in range(30):
            own, shared = f"{thread}/{i}", f"shared/{i}"
            put_derived(cache, own, shared)
            found = cache.get([own.encode(), shared.encode()])
            assert all(np.array_equal(found[key.encode()], vector_of(key.encode())) for key in (own, shared))
        cache.close()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert len(cache) == 9 * 30


WRITER = """
from concurrent.futures import ThreadPoolExecutor
path, process = Path(sys.argv[1]), sys.argv[2]
cache = VectorCache(path)

def work(thread):
    for i in range(25):
        keys = [f"{process}/{thread}/{i}".encode(), f"shared/{i}".encode()]
        cache.put({key: vector_of(key) for key in keys})
        for key, vector in cache.get(keys + [b"shared/3"]).items():
            assert np.array_equal(vector, vector_of(key)), key

with ThreadPoolExecutor(4) as pool:
    list(pool.map(work, range(4)))
"""


def test_four_processes_write_at_once_and_lose_nothing(tmp_path):
    path = tmp_path / "vectors.sqlite"
    processes = [start(WRITER, path, number) for number in range(4)]
    errors = [process.communicate(timeout=60)[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * 4, errors
    keys = [f"{process}/{thread}/{i}".encode() for process in range(4) for thread in range(4) for i in range(25)]
    keys += [f"shared/{i}".encode() for i in range(25)]
    found = VectorCache(path).get(keys)
    assert found.keys() == set(keys)
    assert all(np.array_equal(vector, vector_of(key)) for key, vector in found.items())


ENDLESS_WRITER = """
import itertools
cache = VectorCache(Path(sys.argv[1]), max_bytes=int(sys.argv[3]))
for i in itertools.count():
    keys = [f"{sys.argv[2]}/{i}/{part}".encode() for part in range(3)]
    cache.put({key: vector_of(key) for key in keys})
    print(i, flush=True)
"""


def keys_and_check(path):
    """All keys of the file, once SQLite has called it whole."""
    connection = sqlite3.connect(path)
    try:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return [key for (key,) in connection.execute("SELECT key FROM vectors")]
    finally:
        connection.close()


@pytest.mark.parametrize("max_bytes", [2**30, 64 * 1024], ids=["growing", "evicting"])
def test_a_killed_writer_leaves_whole_writes_and_no_wrong_vector(tmp_path, max_bytes):
    path = tmp_path / "vectors.sqlite"
    moments = random.Random(20506)
    for run in range(5):
        with start(ENDLESS_WRITER, path, run, max_bytes) as writer:
            assert writer.stdout.readline() == "0\n"
            time.sleep(moments.uniform(0, 0.2))
            writer.kill()
            acknowledged = 1 + len(writer.stdout.readlines())
        keys = keys_and_check(path)
        found = VectorCache(path).get(keys)
        assert found.keys() == set(keys)
        assert all(np.array_equal(vector, vector_of(key)) for key, vector in found.items())
        assert keys
        if max_bytes == 2**30:  # nothing is evicted: all that was acknowledged is there, and no part of a write
            own = sum(key.startswith(b"%d/" % run) for key in keys)
            assert own in (3 * acknowledged, 3 * acknowledged + 3)
