"""A process that carries out one task, as ``kalm task run`` does, of kinds that only tests need."""

import sys
import time
from pathlib import Path

from app.services.tasks import carry_out
from embedder.errors import AppError
from indexer.catalog.tables import Database
from indexer.catalog.task_tables import TaskTable


def count(person, parameters, progress):
    for step in range(parameters["to"]):
        progress(step / parameters["to"], f"step {step}")
    return {"counted": parameters["to"], "for": person.name}


def refuse(person, parameters, progress):
    raise AppError("There is nothing to count; add something.")


def crash(person, parameters, progress):
    raise RuntimeError("secret detail")


def linger(person, parameters, progress):
    """Say that it has begun, wait to be let go, and say that it has ended."""
    folder = Path(parameters["folder"])
    _say(folder, f"begin {parameters['name']}")
    while not (folder / "go").exists():
        time.sleep(0.01)
    _say(folder, f"end {parameters['name']}")
    return {}


def _say(folder, line):
    with (folder / "said").open("a") as file:
        file.write(f"{line}\n")


if __name__ == "__main__":
    database = Database(sys.argv[1])
    works = {"count": count, "refuse": refuse, "crash": crash, "linger": linger}
    carry_out(TaskTable(database), Path(sys.argv[2]), sys.argv[3], works.__getitem__)
