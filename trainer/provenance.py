"""What a result came from: the code, the machine, the libraries and the time."""

import hashlib
import os
import platform
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

_DISTRIBUTION = "kalm-retrieval"
_PACKAGES = ("embedder", "trainer")
_LIBRARIES = ("torch", "transformers", "accelerate", "datasets", "peft", "safetensors", "tokenizers", "numpy")


def now() -> str:
    """The time in UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def code() -> dict[str, str | None]:
    """Version of the package, commit of the checkout it runs from (None if it does not), digest of the sources."""
    root = Path(__file__).resolve().parent.parent
    return {"version": _version(_DISTRIBUTION), "commit": commit_of(root), "digest": _digest(root)}


def hardware(world_size: int) -> dict[str, object]:
    """Kind of processor, cores, memory in GiB, GPUs, and the processes that train together."""
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "gpu": gpus[0] if gpus else None,
        "gpus": len(gpus),
        "processes": world_size,
    }


def versions() -> dict[str, str | None]:
    """Versions of Python and of the libraries that do the work; None for one that is not installed."""
    return {"python": platform.python_version(), **{name: _version(name) for name in _LIBRARIES}}


def commit_of(root: Path) -> str | None:
    """The commit that is checked out in a folder, read from its ``.git`` without running git; None if there is none.

    Args:
        root: The top of a checkout or of a linked worktree. A folder inside one is not looked at: an environment
            that lies in some repository does not make what is installed in it a part of that repository.
    """
    git = root / ".git"
    if git.is_file():  # a linked worktree
        git = root / git.read_text(encoding="utf-8").removeprefix("gitdir:").strip()
    head = _line(git / "HEAD")
    if head is None or not head.startswith("ref:"):
        return head
    ref = head.removeprefix("ref:").strip()
    shared = _line(git / "commondir")
    common = git / shared if shared else git
    for folder in (git, common):
        if (commit := _line(folder / ref)) is not None:
            return commit
    packed = common / "packed-refs"
    if not packed.is_file():
        return None
    lines = (line.split() for line in packed.read_text(encoding="utf-8").splitlines())
    return next((words[0] for words in lines if words[1:] == [ref]), None)


def _digest(root: Path) -> str:
    """Over the names and bytes of all source files; lengths keep them apart."""
    digest = hashlib.blake2b(digest_size=16)
    for package in _PACKAGES:
        for path in sorted(path for end in ("*.py", "*.json") for path in (root / package).rglob(end)):
            for part in (path.relative_to(root).as_posix().encode(), path.read_bytes()):
                digest.update(len(part).to_bytes(8, "little") + part)
    return digest.hexdigest()


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _line(path: Path) -> str | None:
    return path.read_text(encoding="utf-8").strip() if path.is_file() else None


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())
