"""Randomness as functions: separate streams derived from a seed, and noise that has no state.

Streams for initial weights and data order are seeds of their own; noise in training (dropout, augmentation) is a
pure function of seed, step and place, so there is nothing to checkpoint and a stacked run draws what a solo run draws.
"""

import hashlib
import math
from collections.abc import Sequence

import torch
from torch import Tensor

_UINT32 = 2**32
KEYS_AHEAD = 64
"""Steps whose keys are put on the device at a time: each copy waits for it."""


def derive(*parts: int | str) -> int:
    """Return a 63-bit seed that depends on every part; different parts give independent streams."""
    digest = hashlib.blake2b("/".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def generator(*parts: int | str) -> torch.Generator:
    """Return a CPU generator of the stream that the parts name."""
    return torch.Generator().manual_seed(derive(*parts))


def seed_global(seed: int) -> None:
    """Seed PyTorch's global generators, as ``torch.manual_seed`` does.

    Without an accelerator that function still notes for CUDA from where it was called, which takes as long as a small
    step: the CPU's generator is seeded alone then.
    """
    if torch.accelerator.is_available():
        torch.manual_seed(seed)
    else:
        torch.default_generator.manual_seed(seed)


def key(seed: int, step: int, device: torch.device | str = "cpu") -> Tensor:
    """Return the key of one step: int32 ``[2]``, an odd multiplier and an offset."""
    return keys([seed], range(step, step + 1), device)[0, 0]


def keys(seeds: Sequence[int], steps: range, device: torch.device | str = "cpu") -> Tensor:
    """Return the keys of several seeds and steps, int32 ``[steps, seeds, 2]``: one copy to the device for all."""
    of_seed = {seed: [_key(seed, step) for step in steps] for seed in seeds}
    found = [[of_seed[seed][i] for seed in seeds] for i in range(len(steps))]
    return torch.tensor(found, dtype=torch.int32, device=device)


def _key(seed: int, step: int) -> tuple[int, int]:
    bits = _splitmix64(_splitmix64(seed) ^ step)
    return _signed(bits | 1), _signed(bits >> 32)


def uniform(key: Tensor, place: int, shape: torch.Size | tuple[int, ...], skipped: int = 0) -> Tensor:
    """Return float32 uniform in [0, 1) of the given shape, a pure function of its arguments.

    With ``skipped``, it goes on after so many numbers. Element ``i`` is a 32-bit finalizer (Wellons' ``lowbias32``)
    applied to the Weyl sequence ``multiplier·i + offset``. Only tensor arithmetic on ``key``: the same numbers on
    every device, under ``vmap`` and in a captured graph.
    """
    place_bits = _splitmix64(place)
    multiplier = (key[0] ^ _signed(place_bits & ~1)) | 1
    index = torch.arange(math.prod(shape), dtype=torch.int32, device=key.device)
    index = index + _signed(skipped) if skipped else index
    bits = index * multiplier + (key[1] ^ _signed(place_bits >> 32))
    bits = bits ^ (bits >> 16 & 0xFFFF)
    bits = bits * 0x7FEB352D
    bits = bits ^ (bits >> 15 & 0x1FFFF)
    bits = bits * _signed(0x846CA68B)
    bits = bits ^ (bits >> 16 & 0xFFFF)
    return ((bits >> 8 & 0xFFFFFF).to(torch.float32) * 2.0**-24).reshape(shape)


def normal(key: Tensor, place: int, shape: torch.Size | tuple[int, ...]) -> Tensor:
    """Return float32 of mean 0 and variance 1, Gaussian (Box & Muller 1958); a pure function, as ``uniform`` is."""
    count = math.prod(shape)
    u, angle = uniform(key, place, (2, (count + 1) // 2))
    radius, angle = (-2 * (1 - u).log()).sqrt(), 2 * math.pi * angle
    return torch.cat([radius * angle.cos(), radius * angle.sin()])[:count].reshape(shape)


def _signed(bits: int) -> int:
    """Return the low 32 bits as a signed number, as int32 tensors hold them."""
    bits %= _UINT32
    return bits - _UINT32 if bits >= _UINT32 // 2 else bits


def _splitmix64(value: int) -> int:
    """Steele's SplitMix64: one step of a 64-bit generator, used as a hash."""
    mask = 2**64 - 1
    value = (value + 0x9E3779B97F4A7C15) & mask
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & mask
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & mask
    return value ^ (value >> 31)
