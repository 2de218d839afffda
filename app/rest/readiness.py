"""Whether requests can be answered: the catalog can be read and the model is in memory."""

import asyncio
import logging

from starlette.responses import Response

from app.rest.contract import MakeBackend
from app.rest.errors import failure

_PATIENCE_SECONDS = 2.0
"""How long a probe waits; loading a model may take longer, and the next probe asks the same attempt again."""

log = logging.getLogger(__name__)


class Readiness:
    """One attempt at a time, shared by all probes: they cannot pile up, and need no key."""

    def __init__(self, backend: MakeBackend) -> None:
        self._backend = backend
        self._attempt: asyncio.Task[str] | None = None

    async def refusal(self) -> Response | None:
        """None where all is well, else the answer that says what is not; details go to the log."""
        if self._attempt is None or self._attempt.done():
            self._attempt = asyncio.create_task(asyncio.to_thread(self._missing))
        await asyncio.wait({self._attempt}, timeout=_PATIENCE_SECONDS)
        missing = self._attempt.result() if self._attempt.done() else "The model is being loaded; ask again shortly."
        return failure(503, missing, code="not_ready") if missing else None

    def _missing(self) -> str:
        """What is not there, as a sentence; empty where everything is."""
        try:
            self._backend().search.corpora()
        except Exception as error:
            log.warning("Not ready: the catalog: %s", error)
            return "The catalog cannot be read; the server's log says why."
        try:
            self._backend().vectors.load()
        except Exception as error:
            log.warning("Not ready: the model: %s", error)
            return "The model cannot be loaded; the server's log says why."
        return ""
