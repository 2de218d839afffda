"""``kalm bench``: measurements anyone can repeat, as JSON with the machine they were made on."""

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from app.bootstrap import services
from app.cli.output import errors
from app.cli.train import check_installed

commands = typer.Typer(help="Measure speed; prints JSON.", no_args_is_help=True)


@commands.command()
def encode(
    texts: Annotated[Path, typer.Option(help="Folder whose documents are encoded.")] = Path("samples"),
    model: Annotated[str, typer.Option(help="A model, or qwen2-0.5b-random for that shape.")] = "qwen2-0.5b-random",
    tokens: Annotated[int, typer.Option(min=1000, help="Tokens of text in a round.")] = 12_000,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds, in each of which every contestant runs once.")] = 3,
    lengths: Annotated[
        int | None, typer.Option(min=1, max=512, help="Tokens of every text; 16 to 512 mixed if not given.")
    ] = None,
    peer: Annotated[Path | None, typer.Option(help="Folder of another model, for texts per second.")] = None,
    onnx: Annotated[bool, typer.Option("--onnx", help="ONNX Runtime takes part, in float32 and int8.")] = False,
) -> None:
    """Compare tokens per second of this encoder and of its peers on the same weights and texts.

    Example: kalm bench encode --tokens 12000 --rounds 3
    """
    from app.benchmarks.encoding import EncodeBench, bench_encode

    wanted = EncodeBench(texts, model, tokens, rounds, lengths, peer, onnx)
    typer.echo(json.dumps(bench_encode(wanted), indent=2))


@commands.command("machine")
def machine_(
    rounds: Annotated[int, typer.Option(min=1, help="How often everything is measured; the best counts.")] = 20,
) -> None:
    """Measure what bounds every encoder here: the models' matrix products in each arithmetic, and memory.

    Example: kalm bench machine
    """
    from app.benchmarks.products import bench_machine

    typer.echo(json.dumps(bench_machine(rounds), indent=2))


@commands.command()
def latency(
    texts: Annotated[Path, typer.Option(help="Folder whose documents questions are made of.")] = Path("samples"),
    model: Annotated[str | None, typer.Option(help="A model; the default one if not given.")] = None,
    questions: Annotated[int, typer.Option(min=10, help="How many are asked in each situation.")] = 300,
) -> None:
    """Measure how long one question takes to its vector: alone, beside seven others, beside a long list.

    Example: kalm bench latency --questions 300
    """
    from app.benchmarks.latency import bench_latency

    typer.echo(json.dumps(bench_latency(texts, model, questions), indent=2))


@commands.command()
def search(
    corpus: Annotated[str, typer.Argument(help="A corpus that is built.")],
    queries: Annotated[int, typer.Option(min=10, help="How many questions to ask in each mode.")] = 200,
) -> None:
    """Measure warm search through the service: query encoding and store apart, in all three modes.

    Example: kalm bench search samples
    """
    from app.benchmarks.searching import bench_search

    typer.echo(json.dumps(bench_search(services(), corpus, queries), indent=2))


@commands.command()
def vectors(
    points: Annotated[str, typer.Option(help="Numbers of vectors.")] = "10000,100000",
    dims: Annotated[str, typer.Option(help="Their widths.")] = "896,256",
    engines: Annotated[str, typer.Option(help="Engines, divided by semicolons; all if not given.")] = "",
    efforts: Annotated[str, typer.Option(help="Candidates kept while following a graph.")] = "16,32,64,128,256",
    queries: Annotated[int, typer.Option(min=10, help="How many are asked.")] = 200,
    rounds: Annotated[int, typer.Option(min=1, help="How often; the fastest round counts.")] = 2,
    vectors: Annotated[Path | None, typer.Option(help="A .npy file of real vectors, as kalm embed makes.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Where to draw recall against throughput: .svg or .png.")] = None,
) -> None:
    """Compare vector engines on the same vectors: building, disk, memory, recall and queries per second.

    Example: kalm bench vectors --points 10000 --dims 256 --engines "edge; faiss, hnsw"
    """
    if plot is not None:
        check_installed()
    from app.benchmarks.curves import draw_curves
    from app.benchmarks.training import read_batches
    from app.benchmarks.vector_engines import ENGINES
    from app.benchmarks.vectors import VectorBench, bench_vectors

    wanted = VectorBench(
        points=read_batches(points),
        dims=read_batches(dims),
        engines=tuple(name.strip() for name in engines.split(";") if name.strip()) or tuple(ENGINES),
        efforts=read_batches(efforts),
        queries=queries,
        rounds=rounds,
        vectors=vectors,
    )
    report = bench_vectors(wanted)
    if plot is not None:
        draw_curves(report, plot)
    typer.echo(json.dumps(report, indent=2))


@commands.command()
def update(
    documents: Annotated[int, typer.Option(min=100, help="Files of the generated folder.")] = 100_000,
    changed: Annotated[float, typer.Option(min=0.0, max=1.0, help="Share of them that changes.")] = 0.01,
) -> None:
    """Measure what a small change of a large index costs, and LangChain's index() on the same folder.

    Example: kalm bench update --documents 100000 --changed 0.01
    """
    from app.benchmarks.updating import bench_update

    typer.echo(json.dumps(bench_update(documents, changed), indent=2))


@commands.command()
def rebuild(
    texts: Annotated[Path, typer.Option(help="Folder whose documents are indexed.")] = Path("samples"),
    model: Annotated[str | None, typer.Option(help="A model; the configured one if not given.")] = None,
    searchers: Annotated[int, typer.Option(min=1, help="How many people search at once.")] = 50,
    seconds: Annotated[float, typer.Option(min=0.0, help="How long they search before the rebuild.")] = 30.0,
) -> None:
    """Measure what people who search notice while a worker rebuilds the index and puts the new one in use.

    Example: kalm bench rebuild --searchers 50
    """
    from app.benchmarks.rebuilding import bench_rebuild

    typer.echo(json.dumps(bench_rebuild(texts, model, searchers, seconds), indent=2))


@commands.command()
def hybrid(
    tasks: Annotated[Path, typer.Argument(help="Folder of MTEB-shaped tasks; those of retrieval are measured.")],
    model: Annotated[str | None, typer.Option(help="A model; the configured one if not given.")] = None,
    only: Annotated[str, typer.Option(help="Tasks, as NFCorpus,SciFact; all if not given.")] = "",
    queries: Annotated[int, typer.Option(min=1, help="Most questions of a task.")] = 5000,
    vectors: Annotated[Path | None, typer.Option(help="A file to keep vectors in for the next time.")] = None,
) -> None:
    """Measure what meaning, words and both find, task by task: JSON, and a table on standard error.

    Example: kalm bench hybrid tasks --only SciFact
    """
    check_installed()
    from app.benchmarks.hybrid import as_table, bench_hybrid

    names = [name.strip() for name in only.split(",") if name.strip()]
    report = bench_hybrid(tasks, model, names, queries, vectors)
    errors.print(as_table(report), soft_wrap=True)
    typer.echo(json.dumps(report, indent=2))


@commands.command()
def train(
    texts: Annotated[Path, typer.Option(help="Folder whose documents are trained on.")] = Path("samples"),
    shape: Annotated[str, typer.Option(help="Shape of the random model: tiny, small or 0.5b.")] = "small",
    queries: Annotated[int | None, typer.Option(min=1, help="Queries of a step; the shape's own if not given.")] = None,
    tokens: Annotated[int | None, typer.Option(min=4, help="Tokens of the longest text; the shape's own.")] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds, in each of which every contestant runs once.")] = 3,
    lengths: Annotated[
        Literal["equal", "mixed"], typer.Option(help="All texts that long, or 16 tokens to that.")
    ] = "equal",
    batches: Annotated[str, typer.Option(help="More numbers of queries to measure memory at, as 128,512,2048.")] = "",
    peer_batches: Annotated[bool, typer.Option("--peer-batches", help="Measure the peer at those too.")] = False,
    recipe_loss: Annotated[
        bool, typer.Option("--recipe-loss/--plain", help="Our whole loss, or the one the peer has.")
    ] = False,
    apart: Annotated[
        bool | None, typer.Option("--apart/--together", help="One side in memory at a time; 0.5b's own way.")
    ] = None,
) -> None:
    """Compare tokens per second and memory of fine-tuning steps, ours and sentence-transformers', on the CPU.

    Example: kalm bench train --shape 0.5b --rounds 3
    """
    from app.benchmarks.training import APART, TrainingBench, bench_train, default_sizes, read_batches

    own_queries, own_tokens = default_sizes(shape)
    wanted = TrainingBench(
        shape=shape,
        queries=queries or own_queries,
        tokens=tokens or own_tokens,
        rounds=rounds,
        lengths=lengths,
        batches=read_batches(batches),
        peer_batches=peer_batches,
        recipe_loss=recipe_loss,
        apart=shape in APART if apart is None else apart,
    )
    typer.echo(json.dumps(bench_train(texts, wanted), indent=2))


@commands.command()
def recipe(
    out: Annotated[Path, typer.Option(help="Folder of the runs; the same command goes on with them.")],
    evaluation: Annotated[str, typer.Option(help="Folder of MTEB-shaped tasks to score on.")],
    name: Annotated[str, typer.Option("--recipe", help="kalm_v2, kalm_v2_5, nano or tiny.")] = "nano",
    data: Annotated[str, typer.Option(help="Folder of training tables.")] = "",
    base: Annotated[str, typer.Option(help="Model to start from.")] = "",
    only: Annotated[str, typer.Option(help="Variants, as full,no-focal; all if not given.")] = "",
    seeds: Annotated[int, typer.Option(min=1, help="Runs of a variant; the whole recipe has at least two.")] = 1,
    set_: Annotated[list[str] | None, typer.Option("--set", help="Change a setting, as kalm train all does.")] = None,
) -> None:
    """Measure what each ingredient of a recipe is worth: train it whole and with one thing taken out.

    Example: kalm bench recipe --out runs/ablations --evaluation tasks --data tables --base gemma.gguf --seeds 2
    """
    check_installed()
    from app.benchmarks.ablations import as_table, run_ablations
    from trainer.recipes import Places, find_recipe

    whole = find_recipe(name, Places(data, base, evaluation)).changed(set_ or [])
    names = [part.strip() for part in only.split(",") if part.strip()]
    report = run_ablations(whole, out, names, seeds, "kalm bench recipe")
    (out / "ablations.md").write_text(as_table(report), encoding="utf-8")
    typer.echo(json.dumps(report, indent=2))


@commands.command()
def rest(
    texts: Annotated[Path, typer.Option(help="Folder whose documents are encoded.")] = Path("samples"),
    model: Annotated[str | None, typer.Option(help="A model; the default one if not given.")] = None,
    clients: Annotated[int, typer.Option(min=1, help="How many ask at once.")] = 50,
    seconds: Annotated[float, typer.Option(min=0, help="How long they ask.")] = 60.0,
    batch: Annotated[int, typer.Option(min=1, help="Texts of a request.")] = 8,
) -> None:
    """Measure vectors a second through the REST interface, beside the same encoder called in process.

    Example: kalm bench rest --clients 50 --seconds 60
    """
    from app.benchmarks.serving import bench_rest

    typer.echo(json.dumps(bench_rest(texts, model, clients, seconds, batch), indent=2))


@commands.command()
def data(
    rows: Annotated[int, typer.Option(min=1000, help="Rows of the generated table.")] = 10_000_000,
) -> None:
    """Open a training table of many rows, plan an epoch of it and read batches all over it.

    Example: kalm bench data --rows 10000000
    """
    from app.benchmarks.tables import bench_data

    typer.echo(json.dumps(bench_data(rows), indent=2))


@commands.command("all")
def all_(
    out: Annotated[Path, typer.Option(help="Folder of the results.")] = Path("benchmarks/results"),
    only: Annotated[str, typer.Option(help="Measurements, as machine,latency; all if not given.")] = "",
    quick: Annotated[bool, typer.Option("--quick", help="Small ones, to see that everything runs.")] = False,
) -> None:
    """Run every measurement of docs/performance.md, one after the other; writes JSON files and a table of them.

    Example: kalm bench all --quick --out results
    """
    check_installed()
    from app.benchmarks.suite import QUICK, SUITE, run_suite

    names = [name.strip() for name in only.split(",") if name.strip()]
    for name in run_suite(out, QUICK if quick else SUITE, names):
        errors.print(f"{name} ...")


@commands.command()
def compare(
    old: Annotated[Path, typer.Argument(help="A result.")],
    new: Annotated[Path, typer.Argument(help="A later result of the same benchmark.")],
    tolerance: Annotated[float, typer.Option(min=0, max=1, help="Share that a figure may lose.")] = 0.15,
) -> None:
    """Say what became slower or faster between two results; fails if a figure lost more than the tolerance.

    Example: kalm bench compare before.json after.json
    """
    from app.benchmarks.comparison import as_table, compare

    found = compare(old, new)
    typer.echo(as_table(found, tolerance))
    if found.worse(tolerance):
        raise typer.Exit(1)
