"""Commands, servers and a browser: the application as people meet it, on data of the tests' own."""

import io
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import chdir, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from unittest import mock

import pytest
from conftest import skip_or_fail
from ports import free_port, wait_for

if TYPE_CHECKING:
    from app.bootstrap import Services

KALM = Path(sys.executable).with_name("kalm")
SAMPLES = Path(__file__).parents[2] / "samples"
CHROMIUM = Path("/usr/bin/chromium")
# Maps are drawn by WebGL, here without a graphics card.
_WEBGL = "--use-angle=swiftshader --enable-unsafe-swiftshader"
_FLAGS = f"--no-sandbox {_WEBGL} --disable-background-networking --disable-component-update --disable-sync"
_START_SECONDS = 60


def _environment(data: Path, **more: object) -> dict[str, str]:
    """The environment of a command: nobody's settings but these."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("KALM_")}
    alone = {"OMP_NUM_THREADS": "1"}  # threads of several processes would wait for each other more than they work
    return clean | alone | {"KALM_DATA_DIR": str(data)} | {name: str(value) for name, value in more.items()}


@dataclass(frozen=True)
class Outcome:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def refusal(self) -> str:
        """The one line it said to a person whose mistake it was."""
        assert self.code == 1
        assert self.out == ""
        assert self.err.startswith("kalm: ")
        assert self.err.endswith(".\n")
        assert self.err.count("\n") == 1
        return self.err.removeprefix("kalm: ").rstrip("\n")


class CommandLine:
    """``kalm`` in this process, through its entry point: a process of its own would load torch every time."""

    def __init__(self, folder: Path, model: Path) -> None:
        self.folder = folder
        self.data = folder / "data"
        self._model = model

    def __call__(self, *arguments: object, stdin: str = "", **settings: object) -> Outcome:
        """Run a command in ``folder``, with the tiny model unless ``settings`` say otherwise."""
        from app.bootstrap import services
        from app.cli import main

        out, err, words = io.StringIO(), io.StringIO(), ["kalm", *map(str, arguments)]
        environment = _environment(self.data, **({"KALM_MODEL": self._model} | settings))
        services.cache_clear()
        with (
            mock.patch.dict(os.environ, environment, clear=True),
            mock.patch.dict("app.settings._kept_flags", clear=True),
            mock.patch.object(os, "nice"),  # there is no way back up, and other tests follow in this process
            mock.patch.object(sys, "argv", words),
            mock.patch.object(sys, "excepthook", sys.excepthook),
            mock.patch.object(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode()))),
            chdir(self.folder),
            redirect_stdout(out),
            redirect_stderr(err),
            pytest.raises(SystemExit) as ended,
        ):
            main()
        return Outcome(ended.value.code or 0, out.getvalue(), err.getvalue())


@pytest.fixture(scope="session")
def tiny_model(tiny_checkpoint) -> Iterator[Path]:
    """A model where meaning does not matter; on one core, since two that others use as well make it slower."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield tiny_checkpoint()
    torch.set_num_threads(before)


@pytest.fixture
def cli(tmp_path, tiny_model) -> CommandLine:
    """``kalm`` on an empty data folder."""
    return CommandLine(tmp_path, tiny_model)


@pytest.fixture(scope="module")
def module_cli(tmp_path_factory, tiny_model) -> CommandLine:
    """``kalm`` on a data folder that the tests of a file share and only read."""
    return CommandLine(tmp_path_factory.mktemp("shared"), tiny_model)


@pytest.fixture
def made(tmp_path, tiny_model) -> Iterator["Services"]:
    """The services of a new installation, in this process."""
    with _services(tmp_path / "data", tiny_model) as services:
        yield services


@pytest.fixture(scope="module")
def module_made(tmp_path_factory, tiny_model) -> Iterator["Services"]:
    """The same for an installation that the tests of a file share and only read."""
    with _services(tmp_path_factory.mktemp("shared") / "data", tiny_model) as services:
        yield services


@contextmanager
def _services(data: Path, model: Path) -> Iterator["Services"]:
    from app.bootstrap import Services
    from app.settings import Settings

    services = Services(Settings(data_dir=data, model=str(model)))
    try:
        yield services
    finally:
        services.close()


@pytest.fixture
def carry_out(made) -> Callable[[], None]:
    """Do what a worker would, in this process."""

    def fail(run, error):
        raise error

    return lambda: made.indexing.work(wait=True, on_error=fail)


@pytest.fixture(scope="session")
def start(tmp_path_factory) -> Callable[..., subprocess.Popen[str]]:
    """Start ``kalm`` as a process, on a data folder and away from any ``kalm.toml``."""
    folder = tmp_path_factory.mktemp("elsewhere")

    def begin(data: Path, *arguments: object, **settings: object) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [KALM, *map(str, arguments)],
            cwd=folder,
            env=_environment(data, **settings),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return begin


@pytest.fixture(scope="session")
def kalm(start) -> Callable[..., Outcome]:
    """Run ``kalm`` as a process to its end."""

    def run(data: Path, *arguments: object, **settings: object) -> Outcome:
        with start(data, *arguments, **settings) as process:
            out, err = process.communicate(timeout=300)
        return Outcome(process.returncode, out, err)

    return run


@dataclass(frozen=True)
class Server:
    """A running ``kalm serve``."""

    url: str
    process: subprocess.Popen[str]

    def healthz(self) -> float:
        """Ask whether it is there; returns how many seconds the answer took."""
        started = time.perf_counter()
        with urllib.request.urlopen(f"{self.url}/healthz", timeout=10) as answer:
            assert answer.status == 200
            assert answer.read() == b'{"status":"ok"}'
        return time.perf_counter() - started


@pytest.fixture(scope="session")
def serve(start) -> Callable[..., object]:
    """A context manager: ``kalm serve`` for the length of a block, ended by SIGTERM, quiet on standard error."""

    @contextmanager
    def running(data: Path, port: int = 0, **settings: object) -> Iterator[Server]:
        port = port or free_port()
        with start(data, "serve", "--port", port, **settings) as process:
            said: list[str] = []
            reader = threading.Thread(target=lambda: said.extend(process.stderr))  # a full pipe would stop the server
            reader.start()
            server = Server(f"http://localhost:{port}", process)
            try:
                wait_for(f"{server.url}/healthz", process, _START_SECONDS)
                server.healthz()
                yield server
            finally:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(timeout=30)
                finally:
                    process.kill()
                    reader.join()
            assert process.returncode in (0, -signal.SIGTERM, -signal.SIGKILL)  # the last only by the test itself
            assert said == [f"Search is at {server.url} (Ctrl-C ends it).\n"]
            assert process.stdout.read() == ""

    return running


@pytest.fixture(scope="session")
def samples(tmp_path_factory, kalm) -> Path:
    """Data folder with the corpus ``samples``, built by the real model."""
    data = tmp_path_factory.mktemp("samples")
    added = kalm(data, "corpus", "add", "samples", SAMPLES, "--include", "en/*", "--include", "zh/*")
    assert (added.code, added.err) == (0, "")
    built = kalm(data, "index", "build", "samples")
    assert built.code == 0, built.err
    assert built.out.startswith("samples: 120 documents written")
    return data


@pytest.fixture(scope="session")
def samples_server(samples, serve) -> Iterator[Server]:
    """A running server that has the samples."""
    with serve(samples) as server:
        yield server


@pytest.fixture(scope="module")
def browser():
    """A real Chromium. For one file: while it is open, no other event loop can run in this thread."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        skip_or_fail("playwright is not installed")
    if not CHROMIUM.exists():
        skip_or_fail(f"{CHROMIUM} is not there")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(
            executable_path=str(CHROMIUM), args=[*_FLAGS.split(), "--no-first-run"], timeout=60_000
        )
        yield opened
        opened.close()


@pytest.fixture(scope="session")
def write():
    """Put files into a folder."""

    def files(folder, **contents):
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in contents.items():
            (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        return folder

    return files
