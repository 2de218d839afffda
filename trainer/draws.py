"""Random numbers that depend on a key and nothing else: the same draw at any step, in any order, on any process.

Everything rests on the finaliser of SplitMix64 (Steele, Lea and Flood, "Fast Splittable Pseudorandom Number
Generators", 2014), which turns neighbouring integers into unrelated ones.
"""

import hashlib

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Integers = NDArray[np.int64]

_BITS = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15
_FIRST = 0xBF58476D1CE4E5B9
_SECOND = 0x94D049BB133111EB
_SALT = 0x632BE59BD9B4E019
_ROUNDS = 4
"""Fewest rounds of a Feistel network that cannot be told from a random permutation (Luby and Rackoff, 1988)."""


def derive(seed: int, *parts: int | str) -> int:
    """A 64-bit key from a seed and what the key is for; another part, another key."""
    text = "\x1f".join(f"{type(part).__name__}:{part}" for part in (seed, *parts))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def mix(value: int) -> int:
    """SplitMix64's output for a state: 64 bits, each of which depends on all of ``value``'s."""
    value = (value + _GOLDEN) & _BITS
    value = ((value ^ (value >> 30)) * _FIRST) & _BITS
    value = ((value ^ (value >> 27)) * _SECOND) & _BITS
    return value ^ (value >> 31)


def share(key: int, purpose: int) -> float:
    """A draw from [0, 1); another purpose, another draw."""
    return (mix(mix(key) ^ purpose) >> 11) / (1 << 53)


def below(key: int, purpose: int, size: int) -> int:
    """A draw from range(size); another purpose, another draw."""
    return (mix(mix(key) ^ purpose) * size) >> 64


def sample(key: int, purpose: int, size: int, count: int) -> list[int]:
    """The first ``count`` of a shuffled range(size), fewer where there are fewer; O(count) whatever the size."""
    state = mix(mix(key) ^ purpose)
    moved: dict[int, int] = {}
    drawn = []
    for place in range(min(size, count)):  # Fisher-Yates, remembering only the places that were touched
        other = place + below(state, place, size - place)
        drawn.append(moved.get(other, other))
        moved[other] = moved.get(place, place)
    return drawn


class Permutation:
    """A shuffled range(size) of which any part can be read without making the rest.

    A Feistel network over the next even power of two, walked on from where it leaves the range (cycle walking;
    Black and Rogaway, "Ciphers with Arbitrary Finite Domains", 2002). Holds four keys, whatever the size.
    """

    def __init__(self, size: int, key: int) -> None:
        self._size = np.uint64(size)
        half = max(1, (max(size - 1, 1).bit_length() + 1) // 2)
        self._half = np.uint64(half)
        self._mask = np.uint64((1 << half) - 1)
        self._keys = [np.uint64(mix(key ^ mix(number))) for number in range(_ROUNDS)]

    def __call__(self, places: Integers) -> Integers:
        """What stands at each place, shape (N,).

        Args:
            places: Numbers from range(size), shape (N,).

        Raises:
            IndexError: If one is not.
        """
        values = np.atleast_1d(np.asarray(places, dtype=np.int64)).astype(np.uint64)  # a negative one becomes huge
        if np.any(values >= self._size):
            raise IndexError(f"a place beyond range({self._size})")
        values = self._round_trip(values)
        outside = np.flatnonzero(values >= self._size)
        while outside.size:
            values[outside] = self._round_trip(values[outside])
            outside = outside[values[outside] >= self._size]
        return values.astype(np.int64)

    def _round_trip(self, values: NDArray[np.uint64]) -> NDArray[np.uint64]:
        left, right = values >> self._half, values & self._mask
        for key in self._keys:
            left, right = right, left ^ (_mixed(right ^ key) & self._mask)
        return (left << self._half) | right


def _mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """:func:`mix` of each; unsigned arrays wrap round as its masks do."""
    values = values + np.uint64(_GOLDEN)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(_FIRST)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(_SECOND)
    return values ^ (values >> np.uint64(31))


def uniforms(keys: Tensor, count: int, salt: int = 0) -> Tensor:
    """Numbers in [0, 1) that depend on a key alone (SplitMix64).

    Args:
        keys: ``(B,)`` int64.
        count: Numbers per key.
        salt: Another salt gives other numbers.

    Returns:
        ``(B, count)`` float64.
    """
    steps = torch.arange(1, count + 1, device=keys.device, dtype=torch.int64)
    # A finished hash between key and counter: keys that follow each other must not share their sequences.
    state = _hashed(keys + _hashed(torch.tensor(salt + _SALT, device=keys.device)))[:, None] + steps * _signed(_GOLDEN)
    return _shift_right(_hashed(state), 11).double() / 2**53


def _hashed(state: Tensor) -> Tensor:
    """SplitMix64's output function; 64-bit integers wrap around."""
    state = (state ^ _shift_right(state, 30)) * _signed(_FIRST)
    state = (state ^ _shift_right(state, 27)) * _signed(_SECOND)
    return state ^ _shift_right(state, 31)


def _shift_right(state: Tensor, bits: int) -> Tensor:
    """As for unsigned integers: zeros come in, not the sign."""
    return (state >> bits) & ((1 << (64 - bits)) - 1)


def _signed(value: int) -> int:
    """The 64 bits as torch's integers read them."""
    return value - (1 << 64) if value >> 63 else value
