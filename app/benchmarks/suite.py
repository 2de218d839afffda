"""``kalm bench all``: every measurement that docs/performance.md speaks of, each in a process of its own."""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from app.benchmarks.errors import BenchRefused

_NANO = ("--model", "kalm-nano")
_LARGE = ("--tokens", "5000", "--rounds", "2", "--onnx")

SUITE: Mapping[str, tuple[str, ...]] = {
    "machine": ("machine",),
    "encode-kalm-nano": ("encode", *_NANO, "--onnx"),
    "encode-kalm-nano-32": ("encode", *_NANO, "--onnx", "--lengths", "32"),
    "encode-kalm-nano-128": ("encode", *_NANO, "--onnx", "--lengths", "128"),
    "encode-kalm-nano-512": ("encode", *_NANO, "--onnx", "--lengths", "512"),
    "encode-qwen2-0.5b": ("encode", *_LARGE),
    "encode-qwen2-0.5b-32": ("encode", *_LARGE, "--lengths", "32"),
    "encode-qwen2-0.5b-128": ("encode", *_LARGE, "--lengths", "128"),
    "encode-qwen2-0.5b-512": ("encode", *_LARGE, "--lengths", "512"),
    "latency": ("latency",),
    "vectors": ("vectors",),
    "update": ("update", "--documents", "100000"),
    "rebuild": ("rebuild", "--searchers", "50"),
    "rest": ("rest", "--clients", "50"),
    "train-qwen2-small": ("train", "--shape", "small"),
}
"""What is run, by the name of its file."""

QUICK: Mapping[str, tuple[str, ...]] = {
    "machine": ("machine", "--rounds", "2"),
    "encode-kalm-nano": ("encode", *_NANO, "--tokens", "2000", "--rounds", "1"),
    "latency": ("latency", "--questions", "50"),
    "vectors": ("vectors", "--points", "1000", "--dims", "64", "--queries", "20", "--rounds", "1"),
}
"""A look at whether everything runs; its figures are worth little."""

TABLE = "README.md"


def run_suite(out: Path, suite: Mapping[str, Sequence[str]], only: Sequence[str]) -> Iterator[str]:
    """Run them one after the other, and write a file of each and a table of all.

    Args:
        out: Folder of the results; other results that are there stay in the table.
        suite: ``SUITE`` or ``QUICK``.
        only: Names of those to run; all if empty.

    Yields:
        The name of each, before it runs.

    Raises:
        BenchRefused: If a name is unknown, or a measurement fails.
    """
    unknown = set(only) - set(suite)
    if unknown:
        raise BenchRefused(f"There is no measurement {min(unknown)!r}; use {', '.join(suite)}.")
    out.mkdir(parents=True, exist_ok=True)
    for name in only or suite:
        yield name
        command = ["kalm", "bench", *suite[name]]
        report = _run(suite[name], command)
        text = json.dumps({"command": " ".join(command)} | report, indent=2, ensure_ascii=False)
        (out / f"{name}.json").write_text(text + "\n", encoding="utf-8")
        (out / TABLE).write_text(as_table(out), encoding="utf-8")


def _run(arguments: Sequence[str], command: Sequence[str]) -> dict[str, Any]:
    done = subprocess.run(  # noqa: S603 - our own command
        [sys.executable, "-m", "app.cli", "bench", *arguments], capture_output=True, text=True, check=False
    )
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["nothing was said"])[-1]
        raise BenchRefused(f"{' '.join(command)} failed: {reason}")
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def as_table(folder: Path) -> str:
    """Markdown: the main figures of every result of a folder, with what they were made on and by."""
    reports = {file.stem: json.loads(file.read_text(encoding="utf-8")) for file in sorted(folder.glob("*.json"))}
    lines = ["# Results", "", "| result | figure | |", "|---|---|---|"]
    for name, report in reports.items():
        lines += [f"| [{name}]({name}.json) | {figure} | {value} |" for figure, value in headlines(report)]
    lines += ["", "## Made by", "", "| result | command | machine |", "|---|---|---|"]
    for name, report in reports.items():
        command = f"`{report['command']}`" if "command" in report else ""
        lines.append(f"| {name} | {command} | {_machine(report.get('machine', {}))} |")
    return "\n".join(lines) + "\n"


def headlines(report: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The figures of a result that a table shows; none of a kind it does not know."""
    for contestant, rate in report.get("tokens_per_second", {}).items():
        yield f"{contestant}: tokens per second", f"{rate:,}"
    shares = {
        "ours_over_products_alone": "share of what the products alone would allow",
        "ours_over_best": "ours over the best peer",
    }
    yield from ((text, f"{report[key]:.2f}") for key, text in shares.items() if key in report)
    for situation, figures in report.get("situations", {}).items():
        yield f"one question, {situation}: p50 and p95, milliseconds", f"{figures['p50']} and {figures['p95']}"
    for run in report.get("runs", ()):
        for engine, figures in run["engines"].items():
            yield (
                f"{run['points']:,} {run['vectors']} vectors of {run['dim']}, {engine}: recall@10, queries per second",
                _best(figures["curve"]),
            )
    yield from _of_an_index(report)
    for variant in report.get("variants", {}).values():
        scores = [score for tasks in variant["tasks"] for score in tasks.values()]
        yield f"training, {variant['about']}: mean over all tasks", f"{sum(scores) / len(scores):.2f}"
    for shape, rates in report.get("products", {}).items():
        widest = list(rates)[-1]
        for kind, rate in rates[widest].items():
            yield f"products of {shape}, {widest}, {kind}: billions of operations per second", f"{rate:,}"


def _of_an_index(report: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What changing an index and serving vectors came to."""
    if "langchain" in report:
        for name in ("ours", "langchain"):
            yield f"{report['changed']:,} changed files, {name}: seconds", f"{report[name]['update']['total']}"
    if "p95_over_before" in report:
        errors = sum(report[when]["errors"] for when in ("before", "during", "after"))
        yield "searches beside a rebuild: p95 over that before it, errors", f"{report['p95_over_before']}, {errors}"
    if "worst_difference" in report:
        for leg, mean in report["means"].items():
            yield f"{leg} search: mean nDCG@10", f"{mean}"
        yield "hybrid search: least gain over the better leg of a task", f"{report['worst_difference']:+}"
    if "served_over_in_process" in report:
        yield "texts a second served, over those in process", f"{report['served_over_in_process']}"


def _best(curve: Sequence[Mapping[str, Any]]) -> str:
    """The fastest point of a curve that finds 99 %, or the one that finds most."""
    enough = [point for point in curve if point["recall_at_10"] >= 0.99]
    point = (
        max(enough, key=lambda each: each["queries_per_second"])
        if enough
        else max(curve, key=lambda each: each["recall_at_10"])
    )
    return f"{point['recall_at_10']:.3f}, {point['queries_per_second']:,.0f}"


def _machine(machine: Mapping[str, Any]) -> str:
    if not machine:
        return ""
    packages = ", ".join(f"{name} {machine[name]}" for name in ("torch", "qdrant-edge-py") if name in machine)
    return f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']} GiB, {packages}"
