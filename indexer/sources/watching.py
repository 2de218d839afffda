"""A folder is watched: its changes are told once it has come to rest.

What the system tells of a change is taken as a hint, never as the change itself: what has to be done is found out by
a plan. So nothing is lost by a hint that came twice, in the wrong order or, while nobody watched, not at all.
"""

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

_LONGEST_SECONDS = 60.0
"""A folder that never comes to rest is told all the same, this often."""

_RETRY_SECONDS = 5.0
"""How often a folder that is not there, or cannot be watched, is tried again."""

_GROUPED_MILLISECONDS = 1000
"""Hints come in batches: of a stretch of at most this length, or ended by a pause of the next."""
_PAUSE_MILLISECONDS = 50


class FolderWatcher:
    """Watches one folder, or one file, from a thread of its own until it is closed."""

    def __init__(
        self, root: Path, is_wanted: Callable[[str], bool], *, quiet_seconds: float, poll_seconds: float | None = None
    ) -> None:
        """Begin to watch. What changed before counts as a change, and so does a folder that comes back.

        Args:
            root: The folder.
            is_wanted: Whether a file of this path relative to the folder, with forward slashes, would be indexed.
            quiet_seconds: How long nothing may change before a change is told.
            poll_seconds: Look through the folder this often instead of being told by the system, which knows nothing
                of what other machines do in a folder on the network.
        """
        self._root = root
        self._is_wanted = is_wanted
        self._poll_seconds = poll_seconds
        # What is only looked at now and then is at rest when a look has found nothing.
        self._quiet_seconds = quiet_seconds + (poll_seconds or 0.0)
        self._problem = ""
        self._changed = threading.Event()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"watcher of {root}", daemon=True)
        self._thread.start()

    @property
    def problem(self) -> str:
        """Why the folder cannot be watched at present; empty where it can."""
        return self._problem

    def take(self) -> bool:
        """Whether the folder has changed, and come to rest, since this was last asked."""
        changed = self._changed.is_set()
        if changed:
            self._changed.clear()
        return changed

    def close(self) -> None:
        """End."""
        self._closing.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._closing.is_set():
            try:
                self._watch()
                continue
            except FileNotFoundError:
                self._problem = f"{self._root} is not there; it is watched again as soon as it is."
            except (OSError, RuntimeError) as error:  # the latter is what the library makes of most errors
                self._problem = (
                    f"{self._root} cannot be watched ({_reason(error)}); see to it, or have it looked through with "
                    "kalm corpus watch --poll."
                )
            self._closing.wait(_RETRY_SECONDS)

    def _watch(self) -> None:
        """Watch until told to end, or until the folder is another one.

        Raises:
            OSError: If it is not there, or cannot be watched.
            RuntimeError: If it cannot be watched.
        """
        from watchfiles import watch  # only workers need it

        identity = _identity(self._root)
        is_pending, first = True, time.monotonic()
        last = first
        for changes in watch(
            self._root,
            watch_filter=None,
            debounce=_GROUPED_MILLISECONDS,
            step=_PAUSE_MILLISECONDS,
            stop_event=self._closing,
            rust_timeout=max(1, round(self._quiet_seconds * 1000)),
            yield_on_timeout=True,
            raise_interrupt=False,
            force_polling=self._poll_seconds is not None,
            poll_delay_ms=round((self._poll_seconds or 1.0) * 1000),
            ignore_permission_denied=True,
        ):
            if _identity(self._root) != identity:
                return
            self._problem = ""
            now = time.monotonic()
            if any(self._matters(Path(path)) for _, path in changes):
                first = first if is_pending else now
                is_pending, last = True, now
            if is_pending and (now - last >= self._quiet_seconds or now - first >= _LONGEST_SECONDS):
                is_pending = False
                self._changed.set()

    def _matters(self, path: Path) -> bool:
        """Whether a change could be one of the corpus. Of what is gone nobody knows whether it was a folder."""
        if not path.is_relative_to(self._root) or path == self._root:
            return True
        uri = path.relative_to(self._root).as_posix()
        if any(part.startswith(".") for part in uri.split("/")):
            return False
        return not os.path.isfile(path) or self._is_wanted(uri)


def _identity(root: Path) -> tuple[int, int]:
    """Tells a folder from another one of the same name, such as the one that a drive was mounted on."""
    status = root.stat()
    return status.st_dev, status.st_ino


def _reason(error: OSError | RuntimeError) -> str:
    reason = error.strerror if isinstance(error, OSError) else None
    return (reason or str(error)).splitlines()[0].rstrip(".")
