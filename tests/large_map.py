"""A map of a large corpus in a real browser: how long it takes to make, to draw and to follow the mouse.

    python -m tests.large_map --passages 100000 --data FOLDER

makes the corpus of ``tests.crowd --passages`` where FOLDER does not have it, maps its documents as an analyst would,
and prints JSON. Chromium draws without a graphics card here, in software, on the server's own processors.
"""

import argparse
import json
import re
import statistics
import tempfile
import time
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from app.benchmarks.machine import machine
from tests.crowd import CHROMIUM, ensure_built, resident_mib, served

_WINDOW = {"width": 1280, "height": 1300}
_PATIENCE = 3_600_000
"""Milliseconds a map may take to make."""

_FRAMES = """() => {
  const frames = window.kalmFrames = [];
  let before = performance.now();
  const look = now => { frames.push(now - before); before = now; requestAnimationFrame(look); };
  requestAnimationFrame(look);
}"""
_SOFTWARE = ["--no-sandbox", "--enable-unsafe-swiftshader", "--use-gl=angle", "--use-angle=swiftshader"]


def measure(url: str, pid: int, corpus: str) -> dict[str, object]:
    """Make the map, open it anew, drag it and draw a lasso; seconds, frames in milliseconds."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=_SOFTWARE)
        page = browser.new_page(viewport=_WINDOW, locale="en-US")
        page.set_default_timeout(_PATIENCE)
        complaints: list[str] = []
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(f"{url}/map?corpus={corpus}")
        page.get_by_role("button", name="Make the map").click()
        made = _seconds(lambda: _drawn(page))
        drawn = _seconds(lambda: (page.reload(), _drawn(page)))
        dragged = _drag(page, "pan", [(0.5, 0.5), (0.3, 0.4), (0.6, 0.6), (0.5, 0.5)])
        lasso = [(0.2, 0.2), (0.5, 0.15), (0.8, 0.3), (0.7, 0.8), (0.3, 0.7), (0.2, 0.2)]
        _drag(page, "lasso", lasso)
        selected = page.get_by_text(re.compile(r"^[\d,]+ items selected"))
        told = _seconds(selected.wait_for)
        report = {
            "items": page.locator(".kalm-facts, .stMetric").first.inner_text().split("\n")[:2],
            "made_s": made,
            "drawn_anew_s": drawn,
            "dragging": dragged,
            "lasso": {"selected": selected.inner_text(), "told_s": told},
            "server_resident_mib": resident_mib(pid),
            "page_errors": complaints,
        }
        browser.close()
        return report


def _drawn(page: Page) -> None:
    page.locator(".js-plotly-plot canvas").first.wait_for()
    page.locator(".stApp[data-test-script-state=notRunning]").wait_for()


def _drag(page: Page, tool: str, corners: list[tuple[float, float]]) -> dict[str, float]:
    """Use a tool of the chart; what its frames took meanwhile."""
    area = page.locator(".js-plotly-plot").first.bounding_box()
    points = [(area["x"] + area["width"] * x, area["y"] + area["height"] * y) for x, y in corners]
    page.mouse.move(*points[0])
    page.locator(f'.modebar-btn[data-val="{tool}"]').first.click()
    page.mouse.move(*points[0])
    page.mouse.down()
    page.evaluate(_FRAMES)
    for point in points[1:]:
        page.mouse.move(*point, steps=12)
    page.mouse.up()
    frames = page.evaluate("window.kalmFrames")
    return {"frames": len(frames), "p50_ms": round(statistics.median(frames)), "longest_ms": round(max(frames))}


def _seconds(work) -> float:
    began = time.monotonic()
    work()
    return round(time.monotonic() - began, 1)


def main() -> None:
    """Prepare a data folder, start a server, and print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--passages", type=int, default=100_000, help="Passages of the made corpus.")
    parser.add_argument("--data", type=Path, help="Data folder to keep; what it has already is not built again.")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="kalm-map-") as own:
        data = chosen.data or Path(own)
        name = ensure_built(data, chosen.passages)
        with served(data) as (url, pid):
            report = measure(url, pid, name)
    print(json.dumps(report | {"machine": machine()}, indent=2, ensure_ascii=False))  # noqa: T201


if __name__ == "__main__":
    main()
