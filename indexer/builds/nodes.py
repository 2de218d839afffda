"""A Ray cluster that reads and encodes for a build, as a value; ``cluster.py`` works with it."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Protocol

from embedder.errors import AppError
from embedder.protocol import TextEncoder, Tokenizer
from indexer.records import Manifest


class ClusterError(AppError):
    """A cluster that is not there, or that cannot do what is asked of it."""


class ModelSource(Protocol):
    """Loads the model of a build on whatever machine it is asked. Travels to the nodes, so it is a small value."""

    def encoder(self) -> TextEncoder:
        """The model, with the weights and in the arithmetic of the build.

        Raises:
            AppError: If it cannot be had there.
        """
        ...

    def tokenizer(self) -> Tokenizer:
        """Its tokenizer alone: who cuts passages needs no weights."""
        ...


@dataclass(frozen=True, slots=True)
class RayCluster:
    """Where a build reads and encodes, if not in its own process.

    Attributes:
        model: Makes of a build's manifest what loads its model.
        address: Of a running cluster that this machine belongs to, ``host:port``; None takes what ``RAY_ADDRESS``
            names, else a cluster that runs on this machine, else starts one of this machine alone.
        encoders: How many load the model; None takes one for each GPU or, where there is none, for each node.
    """

    model: Callable[[Manifest], ModelSource]
    address: str | None = None
    encoders: int | None = None


@dataclass(frozen=True, slots=True)
class Machine:
    """What a node offers: logical processors and GPUs."""

    cpus: float
    gpus: float


@dataclass(frozen=True, slots=True)
class EncoderPool:
    """Encoders of a cluster.

    Attributes:
        size: How many.
        cpus: Processors that each of them takes.
        gpus: GPUs, likewise.
    """

    size: int
    cpus: int
    gpus: int


def encoder_pool(machines: list[Machine], encoders: int | None) -> EncoderPool:
    """How encoders share a cluster with those who read.

    A GPU serves one encoder. Without one an encoder takes the processors of a node, or its part of them; one of them
    is left on each node to read.

    Args:
        machines: The nodes.
        encoders: How many are wanted; None takes one for each GPU or, where there is none, for each node.

    Raises:
        ClusterError: If there are not so many GPUs, or not enough processors.
    """
    machines = [machine for machine in machines if machine.cpus >= 1]  # others hold no reader and no encoder
    gpus = sum(int(min(machine.gpus, machine.cpus)) for machine in machines)
    size = encoders or gpus or max(len(machines), 1)
    if gpus:
        if size > gpus:
            raise ClusterError(f"The cluster has {gpus} GPUs for {size} encoders; ask for fewer (--encoders).")
        cpus = 1
    else:
        smallest = int(min((machine.cpus for machine in machines), default=0))
        cpus = max(1, (smallest - 1) // -(-size // max(len(machines), 1)))
    there = sum(int(machine.cpus) for machine in machines)
    if there < size * cpus + 1:
        raise ClusterError(
            f"{size} encoders and one reader need {size * cpus + 1} processors, and the cluster has {there}; ask for "
            "fewer encoders (--encoders), or add nodes."
        )
    return EncoderPool(size, cpus, 1 if gpus else 0)


def check_installed() -> None:
    """Refuse to build on Ray without its package.

    Raises:
        ClusterError: If it is not there.
    """
    if find_spec("ray") is None:
        raise ClusterError("Building on a cluster needs ray; run pip install 'kalm-retrieval[ray]'.")
