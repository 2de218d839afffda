"""Weights the arithmetic is done with, and the precise ones that learn."""

import pytest
import torch

from embedder.packing import is_packable, quantize, rounded
from trainer.config import OptimizerConfig, RuntimeConfig
from trainer.distributed import Processes
from trainer.weights import prepare_weights


def network():
    torch.manual_seed(3)
    return torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.Tanh(), torch.nn.Linear(32, 8))


def prepared(model, precision="float32", bits=None, learning_rate=0.1):
    optimizer = OptimizerConfig(learning_rate=learning_rate)
    return prepare_weights(model, optimizer, RuntimeConfig(precision=precision, device="cpu"), Processes("cpu"), bits)


def parts(weights):
    tensors = weights.tensors()
    return {name.removeprefix("weights/"): value for name, value in tensors.items() if name.startswith("weights/")}


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("bits", [4, 8])
def test_the_network_computes_with_what_will_be_stored(precision, bits):
    model = network()
    whole = {name: value.clone() for name, value in model.state_dict().items()}
    weights = prepared(model, precision, bits)
    dtype = getattr(torch, precision)
    for step in range(3):
        masters = parts(weights)
        if step == 0:
            assert all(torch.equal(masters[name], value) for name, value in whole.items())
        for name, value in model.state_dict().items():
            assert torch.equal(value, rounded(masters[name], bits).to(dtype)), name
            assert torch.equal(value, masters[name].to(dtype)) == (not is_packable(value))
        model(torch.randn(5, 64, dtype=dtype)).square().sum().backward()
        weights.step(0.1)


def test_gradients_pass_straight_through_to_weights_that_rounding_would_hold_still():
    """A step far smaller than a code changes hardly any code, and the sum of many changes many."""
    model = network()
    weights = prepared(model, bits=4)
    codes = quantize(model[0].weight, 4)[0]
    changed = []
    for _ in range(60):
        model(torch.ones(1, 64)).sum().backward()
        weights.step(2e-4)
        changed.append((quantize(model[0].weight, 4)[0] != codes).float().mean().item())
    assert changed[0] < 0.05
    assert changed[-1] > 0.3


def test_restored_weights_are_rounded_too():
    model = network()
    weights = prepared(model, bits=4)
    model(torch.randn(5, 64)).sum().backward()
    weights.step(0.1)
    other = network()
    prepared(other, bits=4).restore({name: value.clone() for name, value in weights.tensors().items()})
    assert all(torch.equal(value, other.state_dict()[name]) for name, value in model.state_dict().items())
