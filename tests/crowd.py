"""People at browsers, from a seed: how many errors they meet, how long results take, what the server's memory does.

    python -m tests.crowd --users 20 --seconds 60 --seed 7

builds the samples, starts a server on them, lets everybody in, and prints JSON. People look at what they got for some
seconds before they do the next thing; ``--think 0`` is people who do something all the time. ``--data`` keeps the data
folder for the next run; ``--passages 100000`` takes an index of so many instead, made of the samples' sentences, which
takes a quarter of an hour to build the first time.
"""

import argparse
import asyncio
import json
import os
import random
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from playwright.async_api import Error, async_playwright

from app.benchmarks.machine import machine

SAMPLES = Path(__file__).parents[1] / "samples"
CHROMIUM = Path("/usr/bin/chromium")
WORDS = (
    "bees honey leaves autumn planets gravity inflation trade harvest music ships longitude silk tea poems vaccines "
    "rivers maps memory light 蜜蜂 酿蜜 黑洞 长江 茶叶 诗歌 航海 疫苗 经济 音乐"
).split()
"""What people ask about."""

_PATIENCE = 60_000
"""Milliseconds after which something that is waited for counts as an error."""

_WATCH = """() => {
  const top = () => document.querySelector('.kalm-card .kalm-title')?.closest('.kalm-card').innerText ?? '';
  const status = () => document.querySelector('.kalm-status')?.innerText ?? '';
  const isAtRest = () => document.querySelector('.stApp[data-test-script-state=notRunning]');
  const [before, statusBefore] = [top(), status()];
  let began = 0;
  addEventListener('keydown', event => { if (event.key === 'Enter') began = performance.now(); }, {capture: true});
  window.kalmShown = new Promise(done => {
    const isOther = () => began && top() && (top() !== before || (status() !== statusBefore && isAtRest()));
    const look = () => isOther() ? done(performance.now() - began) : requestAnimationFrame(look);
    look();
  });
}"""
"""Looks at every frame whether other results are on the screen than before Enter, be the first of them the same."""


@dataclass
class Told:
    """What the people of a run met."""

    actions: dict[str, int] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    searches: list[float] = field(default_factory=list)

    def report(self) -> dict[str, object]:
        """As JSON values; milliseconds."""
        return {
            "actions": sum(self.actions.values()),
            "by_kind": self.actions,
            "errors": len(self.errors),
            "first_errors": self.errors[:10],
            "results_visible_ms": percentiles(self.searches),
        }


def percentiles(values: list[float]) -> dict[str, float] | None:
    """Median and 95th percentile with their number."""
    if len(values) < 2:
        return None
    cuts = statistics.quantiles(values, n=20, method="inclusive")
    return {"n": len(values), "p50": round(statistics.median(values)), "p95": round(cuts[-1])}


class Visitor:
    """One person at a window of their own, who remembers what went wrong."""

    def __init__(self, page, url: str, corpus: str, draw: random.Random, told: Told) -> None:
        self.page, self.draw, self._url, self._corpus, self._told = page, draw, url, corpus, told
        page.set_default_timeout(_PATIENCE)
        page.on("pageerror", lambda error: told.errors.append(f"page: {error}"))
        page.on("console", lambda said: told.errors.append(f"console: {said.text}") if _is_complaint(said) else None)
        page.on("response", lambda got: told.errors.append(f"{got.status} {got.url}") if got.status >= 500 else None)

    async def arrive(self) -> None:
        """Open the page with a first question."""
        await self.page.goto(f"{self._url}/?corpus={self._corpus}&q={self._question()}")
        await self.page.locator(".kalm-card").first.wait_for()
        await self._settle()

    async def search(self) -> None:
        """Ask, and wait for other results."""
        await self._to_results()
        field = self.page.get_by_role("searchbox")
        await field.fill(self._question())
        await self.page.evaluate(_WATCH)
        await field.press("Enter")
        self._told.searches.append(await asyncio.wait_for(self.page.evaluate("window.kalmShown"), _PATIENCE / 1000))
        await self._settle()

    async def narrow(self) -> None:
        """Press one of the filters under the question."""
        await self._to_results()
        filters = self.page.locator(".st-key-filters button")
        if count := await filters.count():
            await filters.nth(self.draw.randrange(count)).click()
            await self._settle()

    async def read(self) -> None:
        """Open a result at its place and come back."""
        await self._to_results()
        links = self.page.locator("a.kalm-open")
        if count := await links.count():
            await self.page.goto(await links.nth(self.draw.randrange(count)).evaluate("link => link.href"))
            await self.page.get_by_role("link", name=re.compile("Back to the results|返回搜索结果")).wait_for()
            await self._settle()

    async def turn(self) -> None:
        """Go to the next page of results."""
        await self._to_results()
        following = self.page.get_by_role("button", name=re.compile("^(Next|下一页)$"))
        if await following.count() and await following.is_enabled():
            await following.click()
            await self._settle()

    async def wander(self) -> None:
        """Look at another part of the application."""
        await self.page.goto(f"{self._url}/{self.draw.choice(('map', 'classify', 'admin'))}")
        await self.page.locator(".kalm-name").wait_for()
        await self._settle()

    async def translate(self) -> None:
        """Switch the language of the page."""
        await self._to_results()
        other = self.draw.choice(("English", "中文"))
        await self.page.get_by_role("radio", name=other).click()
        await self._settle()

    async def act(self) -> None:
        """Do something, most often ask."""
        kinds = (self.search,) * 5 + (self.narrow, self.read, self.turn, self.wander, self.translate)
        what = self.draw.choice(kinds)
        self._told.actions[what.__name__] = self._told.actions.get(what.__name__, 0) + 1
        try:
            await what()
            if await self.page.locator("[data-testid=stException], .kalm-alert").count():
                self._told.errors.append(f"{what.__name__}: {await self.page.locator('body').inner_text()}"[-300:])
        except (Error, TimeoutError) as error:
            self._told.errors.append(f"{what.__name__}: {str(error).splitlines()[0] if str(error) else 'timeout'}")

    def _question(self) -> str:
        return " ".join(self.draw.sample(WORDS, 3))

    async def _to_results(self) -> None:
        if not await self.page.locator(".kalm-card").count():
            await self.arrive()

    async def _settle(self) -> None:
        await self.page.locator(".stApp[data-test-script-state=notRunning]").wait_for()


def _is_complaint(said) -> bool:
    """Streamlit looks for itself under the path of a page opened by its address, before it looks at the root."""
    return said.type == "error" and not re.search(r"/[a-z]+/_stcore/(health|host-config)$", said.location["url"])


async def _live(visitor: Visitor, until: float, think: float) -> None:
    while time.monotonic() < until:
        await asyncio.sleep(visitor.draw.uniform(0, 2 * think))
        await visitor.act()


async def crowd(
    url: str, pid: int, corpus: str, users: int, seconds: float, seed: int, think: float = 0.0
) -> dict[str, object]:
    """Everybody does one thing after the other; the server's resident memory before, after each quarter, at the end.

    Args:
        url: Of the server.
        pid: Its process.
        corpus: What is searched.
        users: How many there are.
        seconds: How long they go on.
        seed: Of all that they do.
        think: Seconds between two things somebody does, on average.
    """
    told, memory = Told(), {"start": resident_mib(pid)}
    async with _visitors(url, corpus, users, seed, told) as visitors:
        for visitor in visitors:
            await visitor.arrive()
        began = time.monotonic()
        memory["everybody_in"] = resident_mib(pid)
        lives = asyncio.gather(*(_live(visitor, began + seconds, think) for visitor in visitors))
        for name, share in (("quarter", 0.25), ("half", 0.5), ("three_quarters", 0.75)):
            await asyncio.sleep(max(0.0, began + share * seconds - time.monotonic()))
            memory[name] = resident_mib(pid)
        await lives
        memory["end"] = resident_mib(pid)
    return (
        {"users": users, "seconds": seconds, "think": think, "seed": seed}
        | told.report()
        | {"server_resident_mib": memory}
    )


@asynccontextmanager
async def _visitors(url: str, corpus: str, users: int, seed: int, told: Told) -> AsyncIterator[list[Visitor]]:
    """One Chromium with a window for each of some people, every fourth of whom reads Chinese.

    It yields to the server: people's browsers run on machines of their own, and twenty windows that draw at once would
    leave the server nothing of this one.
    """
    async with async_playwright() as playwright:
        with tempfile.NamedTemporaryFile("w", suffix=".sh", delete=False) as polite:
            polite.write(f'#!/bin/sh\nexec nice -n 19 {CHROMIUM} "$@"\n')
        Path(polite.name).chmod(0o700)
        browser = await playwright.chromium.launch(executable_path=polite.name, args=["--no-sandbox"])
        Path(polite.name).unlink()
        found = []
        for number in range(users):
            context = await browser.new_context(locale="zh-CN" if number % 4 == 3 else "en-US", reduced_motion="reduce")
            draw = random.Random(f"{seed} {number}")
            found.append(Visitor(await context.new_page(), url, corpus, draw, told))
        yield found
        await browser.close()


def resident_mib(pid: int) -> int:
    """What a process has in memory."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) // 1024


def run_kalm(data: Path, *words: object) -> None:
    """A command on a data folder, to its end."""
    subprocess.run([sys.executable, "-m", "app.cli", *map(str, words)], env=_environment(data), check=True)


def ensure_built(data: Path, passages: int) -> str:
    """The name of an index of the samples, or of so many passages of two of their sentences each; built if need be."""
    name = f"made-{passages}" if passages else "samples"
    if (data / "indexes" / name).is_dir():
        return name
    words = ["--include", "en/*", "--include", "zh/*"]
    folder = SAMPLES
    if passages:
        folder, words = data / name, []
        folder.mkdir(parents=True)
        draw = random.Random(name)
        whole = [re.findall(r"[^.。!?\n]{12,}[.。!?]", path.read_text()) for path in sorted(SAMPLES.rglob("*.md"))]
        with (folder / "passages.jsonl").open("w", encoding="utf-8") as file:
            for number in range(passages):
                text = " ".join(draw.choices(draw.choice([each for each in whole if each]), k=2))
                file.write(json.dumps({"title": f"Passage {number}", "text": text}, ensure_ascii=False) + "\n")
    run_kalm(data, "corpus", "add", name, folder, *words)
    run_kalm(data, "index", "build", name)
    return name


def _environment(data: Path) -> dict[str, str]:
    """This process's, with no setting of ours but the data folder."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("KALM_")}
    return clean | {"KALM_DATA_DIR": str(data)}


@contextmanager
def served(data: Path, **settings: str):
    """A server on a data folder: its address and its process."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    words = [sys.executable, "-m", "app.cli", "serve", "--port", str(port)]
    with subprocess.Popen(words, env=_environment(data) | settings, stderr=subprocess.DEVNULL) as process:
        try:
            _wait(f"http://localhost:{port}/readyz", process)
            yield f"http://localhost:{port}", process.pid
        finally:
            process.terminate()


def _wait(address: str, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 300
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except OSError:
            time.sleep(0.2)
    raise RuntimeError("The server does not answer.")


def main() -> None:
    """Prepare a data folder, start a server, let people in, and print what they met."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--users", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument(
        "--think", type=float, default=5.0, help="Seconds between two things somebody does, on average."
    )
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--passages", type=int, default=0, help="Passages of a made corpus; 0 takes the samples.")
    parser.add_argument("--data", type=Path, help="Data folder to keep; what it has already is not built again.")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="kalm-crowd-") as own:
        data = chosen.data or Path(own)
        name = ensure_built(data, chosen.passages)
        with served(data) as (url, pid):
            report = asyncio.run(crowd(url, pid, name, chosen.users, chosen.seconds, chosen.seed, chosen.think))
    load = [round(each, 1) for each in os.getloadavg()]
    print(json.dumps(report | {"machine": machine() | {"load": load}}, indent=2))  # noqa: T201


if __name__ == "__main__":
    main()
