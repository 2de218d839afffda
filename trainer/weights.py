"""The weights that learn, kept more precisely than the arithmetic, on one process or shared out.

bfloat16 is fast enough to compute with and too coarse to learn in: a step of 1e-5 on a weight of 1 is lost. So the
network computes with bfloat16 copies and every gradient is added, as soon as it is there, to the float32 gradient of
the float32 weight that the optimizer moves. Autocast would do with one set of weights but cast them again in every
pass. Under FSDP2 the same is done by its mixed-precision policy on shards.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from embedder.errors import AppError
from embedder.packing import Bits, rounded
from trainer.config import OptimizerConfig, RuntimeConfig
from trainer.distributed import Processes

DTYPES = {"bfloat16": torch.bfloat16, "float32": torch.float32, "float64": torch.float64}
_MOMENTS = ("exp_avg", "exp_avg_sq")


class Diverged(AppError):
    """A gradient that is not a number."""


class Weights(Protocol):
    """What the loop needs of the weights, wherever they are."""

    def step(self, learning_rate: float) -> float:
        """Move the weights along the gradients of this step and forget those.

        Returns:
            Length of the gradient before it was clipped.

        Raises:
            Diverged: If it is not finite; the weights are as they were.
        """
        ...

    def tensors(self) -> dict[str, Tensor]:
        """Weights and optimizer state whole, on the CPU, by name; every process has to ask."""
        ...

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Take up what :meth:`tensors` gave."""
        ...


def prepare_weights(
    model: nn.Module,
    optimizer: OptimizerConfig,
    runtime: RuntimeConfig,
    processes: Processes,
    stored_bits: Bits | None = None,
) -> Weights:
    """Put a float32 model into the state it is trained in; the model itself is changed.

    Args:
        model: To be trained.
        optimizer: What moves it.
        runtime: Precision of the arithmetic, and whether weights are shared out.
        processes: All of the run.
        stored_bits: Bits the finished matrices will be packed in; the arithmetic is done with weights so rounded.
    """
    if runtime.strategy == "fsdp2" and processes.world > 1:
        return Sharded(model, optimizer, runtime)
    return Replicated(model, optimizer, runtime, processes, stored_bits)


class Replicated:
    """All weights on every process."""

    def __init__(
        self,
        model: nn.Module,
        optimizer: OptimizerConfig,
        runtime: RuntimeConfig,
        processes: Processes,
        stored_bits: Bits | None = None,
    ) -> None:
        self._model = model
        self._processes = processes
        self._stored_bits = stored_bits
        self._max_norm = optimizer.max_norm
        dtype = DTYPES[runtime.precision]
        master = torch.float64 if dtype == torch.float64 else torch.float32
        self._masters: dict[str, Tensor] = {}
        has_copies = dtype != master or stored_bits is not None
        for name, parameter in model.named_parameters():
            precise = parameter.detach().to(master, copy=has_copies)
            parameter.data = self._as_stored(precise).to(dtype)
            self._masters[name] = precise.requires_grad_(parameter.requires_grad) if has_copies else parameter
            if has_copies and parameter.requires_grad:
                parameter.register_post_accumulate_grad_hook(_add_to(precise))  # type: ignore[no-untyped-call]
        for buffer in model.buffers():  # the inverse frequencies of the positions stay precise
            if buffer.is_floating_point() and master == torch.float64:
                buffer.data = buffer.data.to(master)
        self._copies = dict(model.named_parameters()) if has_copies else {}
        self._optimizer = _adamw(self._masters.items(), optimizer)

    def step(self, learning_rate: float) -> float:
        """See :meth:`Weights.step`."""
        learning = [master for master in self._masters.values() if master.grad is not None]
        for master in learning:
            assert master.grad is not None  # noqa: S101 - chosen above
            self._processes.add(master.grad)
        norm = float(nn.utils.clip_grad_norm_(learning, self._max_norm))
        _move(self._optimizer, learning_rate, norm)
        with torch.no_grad():
            for name, copy in self._copies.items():
                if copy.requires_grad:
                    copy.copy_(self._as_stored(self._masters[name]))
        return norm

    def tensors(self) -> dict[str, Tensor]:
        """See :meth:`Weights.tensors`."""
        return _tensors(self._masters, self._optimizer, lambda tensor: tensor)

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """See :meth:`Weights.restore`."""
        _restore(tensors, self._masters, self._optimizer, lambda tensor, like: tensor.to(like))
        with torch.no_grad():
            for name, copy in self._copies.items():
                copy.copy_(self._as_stored(self._masters[name]))

    def _as_stored(self, master: Tensor) -> Tensor:
        """Rounded as it will be packed. Gradients pass straight through to the master (arXiv 1308.3432)."""
        return rounded(master, self._stored_bits) if self._stored_bits else master


class Sharded:
    """Weights, gradients and optimizer state shared out among the processes (FSDP2)."""

    def __init__(self, model: nn.Module, optimizer: OptimizerConfig, runtime: RuntimeConfig) -> None:
        dtype = DTYPES[runtime.precision]
        if dtype == torch.float64:
            model.double()
        policy = MixedPrecisionPolicy(
            param_dtype=None if dtype == torch.float64 else dtype,
            reduce_dtype=None if dtype == torch.float64 else torch.float32,
            cast_forward_inputs=False,  # token ids
        )
        layers = [layer for stack in model.modules() if isinstance(stack, nn.ModuleList) for layer in stack]
        for module in (*layers, model):
            sharded = fully_shard(module, mp_policy=policy)
            # The vectors' gradients are already those of the whole batch: what they give is summed, not averaged.
            sharded.set_gradient_divide_factor(1.0)
        self._max_norm = optimizer.max_norm
        self._parameters = dict(model.named_parameters())
        self._optimizer = _adamw(self._parameters.items(), optimizer)

    def step(self, learning_rate: float) -> float:
        """See :meth:`Weights.step`."""
        norm = nn.utils.clip_grad_norm_(self._parameters.values(), self._max_norm)
        whole = float(norm.full_tensor() if isinstance(norm, DTensor) else norm)
        _move(self._optimizer, learning_rate, whole)
        return whole

    def tensors(self) -> dict[str, Tensor]:
        """See :meth:`Weights.tensors`."""
        return _tensors(self._parameters, self._optimizer, _whole)

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """See :meth:`Weights.restore`."""
        _restore(tensors, self._parameters, self._optimizer, _shard_like)


def _add_to(master: Tensor) -> Callable[[Tensor], None]:
    """A hook that moves a copy's gradient to its master as soon as it is complete for this pass."""

    def move(copy: Tensor) -> None:
        assert copy.grad is not None  # noqa: S101 - the hook runs when it is there
        if master.grad is None:
            master.grad = copy.grad.to(master.dtype)
        else:
            master.grad.add_(copy.grad)
        copy.grad = None

    return move


def _adamw(parameters: Iterable[tuple[str, Tensor]], config: OptimizerConfig) -> torch.optim.AdamW:
    """AdamW over what learns; biases and norms are not decayed."""
    learning = [parameter for _, parameter in parameters if parameter.requires_grad]
    groups = [
        {"params": [p for p in learning if p.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in learning if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=config.learning_rate,
        betas=config.betas,
        eps=config.epsilon,
        fused=True,
    )


def _move(optimizer: torch.optim.Optimizer, learning_rate: float, norm: float) -> None:
    if norm != norm or norm == float("inf"):
        optimizer.zero_grad()
        raise Diverged(
            "The gradient is no longer a number, so the weights were left as they are; "
            "go on from the last checkpoint with a lower optimizer.learning_rate or a higher loss.temperature."
        )
    for group in optimizer.param_groups:
        group["lr"] = learning_rate
    optimizer.step()
    optimizer.zero_grad()


def _tensors(
    parameters: Mapping[str, Tensor], optimizer: torch.optim.Optimizer, whole: Callable[[Tensor], Tensor]
) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for name, parameter in parameters.items():
        found[f"weights/{name}"] = whole(parameter.detach()).cpu()
        state = optimizer.state.get(parameter, {})
        if state:
            found |= {f"{moment}/{name}": whole(state[moment]).cpu() for moment in _MOMENTS}
            found[f"step/{name}"] = state["step"].cpu()
    return found


def _restore(
    tensors: Mapping[str, Tensor],
    parameters: Mapping[str, Tensor],
    optimizer: torch.optim.Optimizer,
    fit: Callable[[Tensor, Tensor], Tensor],
) -> None:
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(fit(tensors[f"weights/{name}"], parameter))
            if f"step/{name}" in tensors:
                state = {moment: fit(tensors[f"{moment}/{name}"], parameter) for moment in _MOMENTS}
                optimizer.state[parameter] = state | {"step": tensors[f"step/{name}"].clone()}


def _whole(tensor: Tensor) -> Tensor:
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def _shard_like(tensor: Tensor, like: Tensor) -> Tensor:
    assert isinstance(like, DTensor)  # noqa: S101 - all parameters are, once sharded
    return distribute_tensor(tensor.to(like.device, like.dtype), like.device_mesh, like.placements)
