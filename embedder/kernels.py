"""The steps between the products of a decoder in 8 bits, each as one sweep over the rows, compiled by numba.

torch would sweep over all states for every operation of a step: a norm and a rounding are nine. Here a row is read, is
done with while it is in the nearest cache, and is written as bytes. Kernels run in the thread that calls them, without
Python's lock, and are compiled once a machine, at their first call.

They avoid three things that keep a compiler from working on sixteen values at once: a maximum of floats, in place of
which their bits are compared, whose order is the same where the sign is cut off; calls of ``exp``; and rounding by
``rint``, in place of which a half is added before the fraction is cut off.

States are float32, or bfloat16 as numpy can hold it: in the 16 bits of ``uint16``.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numba import njit, types
from numba.extending import overload
from numpy.typing import NDArray

Floats = NDArray[np.float32]
States = NDArray[np.float32] | NDArray[np.uint16]
Codes = NDArray[np.uint8]
_Function = TypeVar("_Function", bound=Callable[..., Any])

_OPTIONS: dict[str, Any] = {"nogil": True, "fastmath": True, "error_model": "numpy"}
"""The last: no exception for a division by zero, which would have to be looked for at each."""

_F, _I, _U = np.float32, np.int32, np.uint32
_HALF, _ONE, _BELOW_HALF = _U(16), _U(1), _U(0x7FFF)
_MAGNITUDE = _I(0x7FFFFFFF)
_STEPS = _F(127)
_MIDDLE = _F(128.5)
"""The zero point, and a half to round by."""

_SMALLEST = _F(1e-30)
_LOG2_E = _F(1.4426950408889634)
_EXPONENT_BITS, _EXPONENT_BIAS, _LARGEST_EXPONENT = _I(23), _I(127), _F(126)
_C1, _C2, _C3, _C4, _C5 = (_F(c) for c in (0.69314718, 0.24022651, 0.05550411, 0.00961813, 0.00133336))
"""Of 2^r between -1/2 and 1/2, ln(2)^n / n!."""


def _kernel(function: _Function) -> _Function:
    """Compiled, and kept for the next process where there is a place to write."""
    try:
        compiled: _Function = njit(cache=True, **_OPTIONS)(function)
    except RuntimeError:
        compiled = njit(**_OPTIONS)(function)
    return compiled


def _inline(function: _Function) -> _Function:
    compiled: _Function = njit(inline="always", **_OPTIONS)(function)
    return compiled


def _whole(value: Any) -> Any:  # noqa: ANN401 - numba's numbers are not Python's
    """A state as float32."""


@overload(_whole, inline="always", strict=False)
def _(value: Any) -> Callable[[Any], Any]:  # noqa: ANN401
    if value == types.uint16:
        return lambda value: _U(np.uint32(value) << _HALF).view(_F)
    return lambda value: value


def _like(state: Any, value: Any) -> Any:  # noqa: ANN401
    """A float32 as a state is held, to the nearest and then to the even one."""


@overload(_like, inline="always", strict=False)
def _(state: Any, value: Any) -> Callable[[Any, Any], Any]:  # noqa: ANN401
    if state == types.uint16:

        def rounded(state: Any, value: Any) -> Any:  # noqa: ANN401
            bits = _F(value).view(_U)
            return np.uint16((bits + _BELOW_HALF + ((bits >> _HALF) & _ONE)) >> _HALF)

        return rounded
    return lambda state, value: value


@_inline
def _bits(value: Any) -> Any:  # noqa: ANN401
    """Of a magnitude; they are in the order of magnitudes."""
    return _F(value).view(_I) & _MAGNITUDE


@_inline
def _code(value: Any) -> Any:  # noqa: ANN401
    """Of a value between -127 and 127."""
    return np.uint8(_I(value + _MIDDLE))


@_inline
def _exp(value: Any) -> Any:  # noqa: ANN401
    """``e^x`` to within 4 in a million: a power of two times a polynomial."""
    power = value * _LOG2_E
    power = power if power < _LARGEST_EXPONENT else _LARGEST_EXPONENT
    power = power if power > -_LARGEST_EXPONENT else -_LARGEST_EXPONENT
    whole = np.floor(power + _F(0.5))
    rest = power - whole
    fraction = _F(1) + rest * (_C1 + rest * (_C2 + rest * (_C3 + rest * (_C4 + rest * _C5))))
    return fraction * _I((_I(whole) + _EXPONENT_BIAS) << _EXPONENT_BITS).view(_F)


@_inline
def _step(largest: Any) -> Any:  # noqa: ANN401
    """What codes of a row are multiples of, from the bits of its largest magnitude."""
    magnitude = _I(largest).view(_F)
    return (magnitude if magnitude > _SMALLEST else _SMALLEST) / _STEPS


@_kernel
def rounded(states: States, codes: Codes, steps: Floats) -> None:
    """Rows ``(N, D)`` to their codes and what these are multiples of, ``(N,)``."""
    rows, width = states.shape
    for i in range(rows):
        row, out = states[i], codes[i]
        largest = _I(0)
        for j in range(width):
            bits = _bits(_whole(row[j]))
            largest = bits if bits > largest else largest
        steps[i] = _step(largest)
        factor = _F(1) / steps[i]
        for j in range(width):
            out[j] = _code(_whole(row[j]) * factor)


@_kernel
def normed(states: States, weight: Floats, epsilon: np.float32, codes: Codes, steps: Floats) -> None:
    """Rows ``(N, D)`` to the codes of their norm."""
    rows, width = states.shape
    for i in range(rows):
        row, out = states[i], codes[i]
        power, largest = _F(0), _I(0)
        for j in range(width):
            value = _whole(row[j])
            power += value * value
            bits = _bits(value * weight[j])
            largest = bits if bits > largest else largest
        step = _step(largest)
        steps[i] = step / np.sqrt(power / _F(width) + epsilon)
        factor = _F(1) / step
        for j in range(width):
            out[j] = _code(_whole(row[j]) * weight[j] * factor)


@_kernel
def added(states: States, rows: States, scales: Floats, weight: Floats, epsilon: np.float32, is_normed: bool) -> None:
    """Add rows ``(N, D)``, which are short of their scales ``(N,)``, to the states: their norm where they have one."""
    count, width = states.shape
    for i in range(count):
        state, row, factor = states[i], rows[i], scales[i]
        if is_normed:
            factor = _factor(row, scales[i], epsilon)
            for j in range(width):
                state[j] = _like(state[j], _whole(state[j]) + _whole(row[j]) * factor * weight[j])
        else:
            for j in range(width):
                state[j] = _like(state[j], _whole(state[j]) + _whole(row[j]) * factor)


@_kernel
def gated(
    gate: States,
    up: States,
    gate_scales: Floats,
    up_scales: Floats,
    linear: np.float32,
    cubic: np.float32,
    codes: Codes,
    steps: Floats,
) -> None:
    """``x sigmoid(a x + b x^3) u`` of rows ``(N, M)``, as codes."""
    rows, width = gate.shape
    held = np.empty(width, _F)
    for i in range(rows):
        row, other, out, scale = gate[i], up[i], codes[i], gate_scales[i]
        largest = _I(0)
        for j in range(width):
            x = _whole(row[j]) * scale
            value = x / (_F(1) + _exp(-x * (linear + cubic * x * x))) * _whole(other[j])
            held[j] = value
            bits = _bits(value)
            largest = bits if bits > largest else largest
        step = _step(largest)
        steps[i] = step * up_scales[i]
        factor = _F(1) / step
        for j in range(width):
            out[j] = _code(held[j] * factor)


@_inline
def _factor(source: Any, scale: Any, epsilon: Any) -> Any:  # noqa: ANN401
    """What a row that is short of a scale is multiplied by when it is normed."""
    width = len(source)
    power = _F(0)
    for j in range(width):
        value = _whole(source[j])
        power += value * value
    return scale / np.sqrt(scale * scale * power / _F(width) + epsilon)


@_inline
def _turned(source: Any, factor: Any, weight: Any, cosines: Any, sines: Any, out: Any) -> None:  # noqa: ANN401
    """One head ``(d,)``, its halves turned against each other."""
    half = len(source) // 2
    for j in range(half):
        first = _whole(source[j]) * factor * weight[j]
        second = _whole(source[j + half]) * factor * weight[j + half]
        out[j] = _like(out[j], first * _whole(cosines[j]) - second * _whole(sines[j]))
        out[j + half] = _like(out[j], second * _whole(cosines[j + half]) + first * _whole(sines[j + half]))


@_kernel
def turned(
    joined: States,
    start: int,
    scales: Floats,
    weight: Floats,
    epsilon: np.float32,
    is_normed: bool,
    cosines: States,
    sines: States,
    out: States,
) -> None:
    """The heads ``(N, H, d)`` that begin at a column of ``(N, W)``, normed where the model does so, and turned."""
    rows, heads, width = out.shape
    for i in range(rows):
        for h in range(heads):
            first = start + h * width
            source = joined[i, first : first + width]
            factor = _factor(source, scales[i], epsilon) if is_normed else scales[i]
            _turned(source, factor, weight, cosines[i], sines[i], out[i, h])


@_kernel
def scaled(joined: States, start: int, scales: Floats, out: States) -> None:
    """The columns ``(N, D)`` from one on of ``(N, W)``, which is short of its scales."""
    rows, width = out.shape
    for i in range(rows):
        source, target, scale = joined[i, start : start + width], out[i], scales[i]
        for j in range(width):
            target[j] = _like(target[j], _whole(source[j]) * scale)
