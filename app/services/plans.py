"""What a build would have done when somebody looked, short enough to be kept and shown again."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

from app.services.outlook import Outlook, VectorStorage

_NAMED = 200
"""Files of a kind that are named; of the others only the number is kept."""


@dataclass(frozen=True, slots=True)
class KeptShare:
    """Some of the files: how many they are, their size in bytes, and the first of them."""

    files: int
    bytes: int
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class KeptPlan:
    """A plan as it was made.

    Attributes:
        made: When.
        is_current: Whether the corpus stands where it stood then: the same folder, index and build under way.
        shares: By what has to happen to the files, as in ``Outlook``; the names of ``move`` say from where to where.
        model: As in ``Outlook``, like all that follow.
    """

    made: datetime
    is_current: bool
    shares: Mapping[str, KeptShare]
    model: str
    seconds: float | None
    measured_in: int | None
    passages: int | None
    storage: tuple[VectorStorage, ...]
    must_be_rebuilt: bool

    @classmethod
    def of(cls, kept: Mapping[str, Any], made: datetime, is_current: bool) -> Self:
        """Read what ``shortened`` wrote."""
        shares = {kind: KeptShare(**(share | {"names": tuple(share["names"])})) for kind, share in kept["shares"]}
        storage = tuple(VectorStorage(**each) for each in kept["storage"])
        rest = {name: kept[name] for name in ("model", "seconds", "measured_in", "passages")}
        rest["must_be_rebuilt"] = kept.get("must_be_rebuilt", False)  # plans of earlier versions do not say
        return cls(made=made, is_current=is_current, shares=shares, storage=storage, **rest)


def shortened(ahead: Outlook) -> dict[str, Any]:
    """A plan as JSON values that a folder of a million files does not make long."""
    shares = [
        [kind, {"files": len(share.files), "bytes": share.bytes, "names": _names(ahead, kind)}]
        for kind, share in ahead.shares.items()
    ]
    storage = [{"dim": each.dim, "quantisation": each.quantisation, "bytes": each.bytes} for each in ahead.storage]
    return {
        "shares": shares,  # pairs: a database may keep the names of an object in another order
        "model": ahead.model,
        "seconds": ahead.seconds,
        "measured_in": ahead.measured_in,
        "passages": ahead.passages,
        "storage": storage,
        "must_be_rebuilt": ahead.must_be_rebuilt,
    }


def _names(ahead: Outlook, kind: str) -> list[str]:
    files = ahead.shares[kind].files[:_NAMED]
    if kind != "move":
        return list(files)
    return [f"{before} → {now}" for before, now in zip(ahead.moved_from, files, strict=False)]
