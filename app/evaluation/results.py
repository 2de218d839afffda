"""Results on disk, in the layout of mteb's cache, so that mteb's own tools read them.

``FOLDER/results/MODEL/FINGERPRINT/experiments/SETTINGS/TASK.json``: results of other weights or settings stand beside
each other. A file is whole or not there, and says which data and which mteb it was made with.
"""

import json
import logging
from pathlib import Path

from mteb.abstasks import AbsTask
from mteb.cache import ResultCache
from mteb.models import ModelMeta
from mteb.results import TaskResult

from app.evaluation.errors import EvaluationRefused
from trainer.durable import sync, write_json

_logger = logging.getLogger(__name__)


class Results:
    """The results of one model under one setting."""

    def __init__(self, folder: Path, meta: ModelMeta) -> None:
        """Find their place.

        Raises:
            EvaluationRefused: If it cannot be made.
        """
        self._meta = meta
        try:
            self._cache = ResultCache(folder)
            self._path("").parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise EvaluationRefused(
                f"Results cannot be written to {folder} ({error.strerror}); choose another folder with --out."
            ) from error

    def load(self, task: AbsTask) -> TaskResult | None:
        """The result of a task on the same data by the same mteb, with all its splits; None if there is none."""
        path = self._path(task.metadata.name)
        if not path.exists():
            return None
        try:
            result = TaskResult.from_disk(path)
        except (OSError, ValueError) as error:
            _logger.warning("%s cannot be read (%s) and is made anew.", path, str(error).splitlines()[0])
            return None
        same = result.is_mergeable(task, criteria=["dataset_revision", "mteb_version"])
        return result if same and not result.get_missing_evaluations(task) else None

    def save(self, result: TaskResult) -> Path:
        """Write a result at once, with the description of the model beside it; returns where."""
        path = self._path(result.task_name)
        beside = path.with_name(f".{path.name}.tmp")
        result.to_disk(beside)
        sync(beside)
        beside.replace(path)
        sync(path.parent)
        write_json(path.with_name("model_meta.json"), json.loads(json.dumps(self._meta.to_dict(), default=str)))
        return path

    def _path(self, task: str) -> Path:
        return self._cache.get_task_result_path(task, self._meta)
