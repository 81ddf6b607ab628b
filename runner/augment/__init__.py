"""Augmentation: each option's function returns a part of what training batches go through; any number may be combined.

Whatever the order of their names, parts act in this one: ``scale`` and ``rotate`` (together, as one resampling),
``crop``, ``flip``, ``color``, ``noise``, parts of a user's own, and last one of ``mixup`` and ``cutmix``: where both
are chosen, a fair coin decides batch by batch. Those of sentences act as ``paraphrase``, ``synonym``, ``swap``,
``word_dropout``.

All that is random is a function of the run's seed, the step and the option's name. Evaluation sees none of it.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Self

import torch
from torch import Tensor
from torch.nn import functional as F

from runner.augment.parts import Affine, Change, Draws, Mixing, Part, Pixels, Rewording
from runner.engine.hooks import AtStep, Hook
from runner.engine.targets import Mixed, Targets, Weighted
from runner.metrics import AnyLoss, OfInputs, value
from runner.noise import KEYS_AHEAD, key, keys

__all__ = ["Affine", "Change", "Draws", "Mixing", "Part", "Pixels", "Rewording"]

ORDER = ("paraphrase", "synonym", "swap", "word_dropout", "scale", "rotate", "crop", "flip", "color", "noise")
"""In which parts act; those of a user's own come after them."""
GREY = (0.2989, 0.587, 0.114)
"""Of red, green and blue: luma as ITU-R BT.601 weighs it."""


@dataclass
class Augmentation(Hook):
    """What the batches of a run go through before its steps; evaluations see the samples as they are."""

    parts: Mapping[str, Part]
    """By option, in the order in which they act."""
    pixels: Pixels
    seed: int

    def before_step(self, at: AtStep, x: Tensor, y: Targets) -> tuple[Tensor, Targets]:
        """Return the present step's batch changed and mixed; of weighted samples, which are not mixed, changed."""
        if isinstance(y, Weighted):
            return self(x, y.y, at.step)[0], y
        assert isinstance(y, Tensor), "nothing else mixes"
        return self(x, y, at.step)

    def __call__(self, x: Tensor, y: Tensor, step: int) -> tuple[Tensor, Tensor | Mixed]:
        """Return a step's samples and targets changed and mixed; those given stay as they are."""
        if not self.parts:
            return x, y
        draws = partial(Draws, self.seed, step, key=key(self.seed, step, x.device))
        return self.mixed(self.changed(x, draws), y, draws)

    def changed(self, x: Tensor, draws: Callable[[str], Draws]) -> Tensor:
        """Return samples each changed by itself; ``draws`` gives an option's."""
        if maps := self.maps(len(x), draws):
            x = resampled(x, maps, self.pixels.black)
        return self.altered(x, draws)

    def maps(self, samples: int, draws: Callable[[str], Draws]) -> list[Tensor]:
        """Return the linear maps of samples, one after another, each ``[samples, 2, 2]``."""
        return [part.of(samples, draws(name)) for name, part in self.parts.items() if isinstance(part, Affine)]

    def altered(self, x: Tensor, draws: Callable[[str], Draws]) -> Tensor:
        """Return samples after all changes but those maps."""
        for name, part in self.parts.items():
            if isinstance(part, Change):
                x = part.of(x, draws(name), self.pixels)
        return x

    def mixed(self, x: Tensor, y: Tensor, draws: Callable[[str], Draws]) -> tuple[Tensor, Tensor | Mixed]:
        """Return samples, each mixed with another, and their targets."""
        mixings = [(name, part) for name, part in self.parts.items() if isinstance(part, Mixing)]
        if not mixings:
            return x, y
        name, mixing = mixings[min(int(draws("mixing").once(0) * len(mixings)), len(mixings) - 1)]
        partners = draws(name).uniform(len(x)).argsort(stable=True)
        x, share = mixing.of(x, x[partners], draws(name))
        if y.is_floating_point():
            return x, share * y + (1 - share) * y[partners]
        return x, Mixed(y, y[partners], share)

    def loss(self, plain: AnyLoss) -> AnyLoss:
        """Return a loss that takes mixed classes too: λ·loss(y) + (1 - λ)·loss(y'), of the mixed inputs both."""

        def mixed(outputs: Tensor, y: Tensor | Mixed, x: Tensor) -> Tensor:
            if isinstance(y, Mixed):
                return y.share * value(plain, outputs, y.y, x) + (1 - y.share) * value(plain, outputs, y.other, x)
            return value(plain, outputs, y, x)

        return OfInputs(mixed) if any(isinstance(part, Mixing) for part in self.parts.values()) else plain

    @classmethod
    def stacked(cls, members: Sequence[Self | None], like: Tensor) -> Hook:
        """Return what the batches of all members go through: their parts are the same, their seeds may differ."""
        assert all(members), "runs of a stack are augmented alike"
        return Augmentations([member for member in members if member])


class Augmentations(Hook):
    """What the batches of a stack's runs go through, each by its own seed's draws; runs of one seed see the same."""

    def __init__(self, members: Sequence[Augmentation]) -> None:
        self._first = members[0]
        self._seeds = {member.seed: i for i, member in reversed(list(enumerate(members)))}
        places = {seed: place for place, seed in enumerate(self._seeds)}
        self._places = [places[member.seed] for member in members]
        self._together = True  # parts of one's own may have no batching rule
        self._keys: tuple[int, Tensor] | None = None

    def before_step(self, at: AtStep, x: Tensor, y: Targets) -> tuple[Tensor, Targets]:
        """Return the present step's batch, or each run's, changed and mixed."""
        assert isinstance(y, Tensor), "nothing else mixes"
        shared, chosen = x.ndim == at.inputs.ndim, list(self._seeds.values())
        keys = self._keys_at(at.step, x.device)
        draws = [partial(Draws, seed, at.step, key=k) for seed, k in zip(self._seeds, keys, strict=True)]
        batches = [x] * len(keys) if shared else [x[i] for i in chosen]
        if self._together and len(keys) > 1:
            batches = self._vmapped(torch.stack(batches), keys, at.step) or batches
        if not self._together or len(keys) == 1:
            batches = [self._first.changed(batch, of) for batch, of in zip(batches, draws, strict=True)]
        targets = [y] * len(keys) if shared else [y[i] for i in chosen]
        mixed = [self._first.mixed(*each) for each in zip(batches, targets, draws, strict=True)]
        if len(mixed) == 1:
            return mixed[0][0], _share_on(x, mixed[0][1])
        samples, of_runs = self._of_runs([batch for batch, _ in mixed]), [_share_on(x, y) for _, y in mixed]
        if isinstance(of_runs[0], Mixed):
            parts = zip(*((y.y, y.other, y.share) for y in of_runs if isinstance(y, Mixed)), strict=True)
            return samples, Mixed(*(self._of_runs(part) for part in parts))
        return samples, self._of_runs([y for y in of_runs if isinstance(y, Tensor)])

    def _keys_at(self, step: int, device: torch.device) -> Tensor:
        """Return each seed's key of a step, ``[seeds, 2]``, put on the device for several steps at a time."""
        first = step - step % KEYS_AHEAD
        if self._keys is None or self._keys[0] != first:
            self._keys = first, keys(list(self._seeds), range(first, first + KEYS_AHEAD), device)
        return self._keys[1][step - first]

    def _vmapped(self, x: Tensor, keys: Tensor, step: int) -> list[Tensor] | None:
        """Return the samples of each seed changed, ``[n, …]``; None where something has no batching rule."""
        parts, of = self._first, partial(Draws, None, step)
        try:
            if any(isinstance(part, Affine) for part in parts.parts.values()):
                maps = torch.vmap(lambda key: parts.maps(x.shape[1], partial(of, key=key)))(keys)
                whole = [matrices.flatten(0, 1) for matrices in maps]
                x = resampled(x.flatten(0, 1), whole, parts.pixels.black).reshape(x.shape)
            return list(torch.vmap(lambda x, key: parts.altered(x, partial(of, key=key)))(x, keys))
        except (RuntimeError, ValueError, TypeError):
            self._together = False
            return None

    def _of_runs(self, of_seeds: Sequence[Tensor]) -> Tensor:
        """Return what is each seed's for each run."""
        return torch.stack([of_seeds[place] for place in self._places])


def _share_on(x: Tensor, y: Tensor | Mixed) -> Tensor | Mixed:
    """Return targets whose share is a tensor of the samples' type, on their device."""
    return Mixed(y.y, y.other, torch.tensor(y.share, dtype=x.dtype, device=x.device)) if isinstance(y, Mixed) else y


def in_order(parts: Mapping[str, Part]) -> dict[str, Part]:
    """Return parts in the order in which they act."""
    places = {name: place for place, name in enumerate(ORDER)}
    return {name: parts[name] for name in sorted(parts, key=lambda name: (places.get(name, len(ORDER)), name))}


def refusal(part: Part, shape: Sequence[int], is_text: bool, is_sentences: bool = False) -> str | None:
    """Return why a part cannot act on samples of a shape, or None."""
    if isinstance(part, Rewording):
        return None if is_sentences else "it changes the words of sentences: use data=text_csv"
    if is_text:
        what = "a sentence's words" if is_sentences else "a text's characters"
        return f"{what} are no quantities"
    if (isinstance(part, Affine) or part.images) and len(shape) != 3:
        return f"it takes images [channels, height, width], and a sample is {list(shape)}"
    if isinstance(part, Change) and part.channels not in (None, shape[0]):
        return f"it takes images of {part.channels} channels, and these have {shape[0]}"
    if isinstance(part, Change) and min(shape[1:], default=part.smallest) < part.smallest:
        return f"it takes images of at least {part.smallest} pixels a side, and these are {shape[1]}×{shape[2]}"
    return None


def resampled(x: Tensor, maps: Sequence[Tensor], black: Tensor) -> Tensor:
    """Return images ``[n, c, h, w]`` read at the places that maps lead to one after another, bilinear."""
    height, width = x.shape[2:]
    matrices = maps[0]
    for matrix in maps[1:]:
        matrices = matrices @ matrix
    # Places run from -1 to 1 on both sides, whatever the sides' lengths.
    sides = torch.tensor([[1.0, height / width], [width / height, 1.0]], device=x.device)
    grid = F.affine_grid(F.pad(matrices * sides, (0, 1)).to(x.dtype), list(x.shape), align_corners=False)
    return F.grid_sample(x - black, grid, mode="bilinear", padding_mode="zeros", align_corners=False) + black


def scale(*, least: float, most: float) -> Part:
    """Zoom by a factor uniform in [``least``, ``most``] (Simard, Steinkraus & Platt 2003, §2)."""

    def matrices(n: int, draws: Draws) -> Tensor:
        factor = least + (most - least) * draws.uniform(n)
        return torch.eye(2, device=factor.device) / factor[:, None, None]

    return Affine(matrices)


def rotate(*, degrees: float) -> Part:
    """Turn by an angle uniform in ± ``degrees``, counter-clockwise where positive (Simard 2003, §2)."""

    def matrices(n: int, draws: Draws) -> Tensor:
        angle = math.radians(degrees) * (2 * draws.uniform(n) - 1)
        cos, sin = angle.cos(), angle.sin()
        return torch.stack([cos, -sin, sin, cos], 1).view(n, 2, 2)

    return Affine(matrices)


def crop(*, pad: int) -> Part:
    """Pad every side by ``pad`` black pixels and cut out the image's size anywhere (He et al. 2016, §4.2).

    The image moves by whole pixels, each way and each number of -``pad`` … ``pad`` as likely.
    """

    def cropped(x: Tensor, draws: Draws, pixels: Pixels) -> Tensor:
        n, channels, height, width = x.shape
        moves = (draws.uniform(2, n) * (2 * pad + 1)).long() - pad
        rows = moves[0, :, None] + torch.arange(height, device=x.device)
        columns = moves[1, :, None] + torch.arange(width, device=x.device)
        inside = ((rows >= 0) & (rows < height))[:, None, :, None] & ((columns >= 0) & (columns < width))[:, None, None]
        rows = rows.clamp(0, height - 1)[:, None, :, None].expand(n, channels, height, width)
        columns = columns.clamp(0, width - 1)[:, None, None].expand(n, channels, height, width)
        return torch.where(inside, x.gather(2, rows).gather(3, columns), pixels.black)

    return Change(cropped, smallest=pad + 1)


def flip(*, p: float) -> Part:
    """Mirror left to right with probability ``p`` (Krizhevsky, Sutskever & Hinton 2012, §4.1)."""

    def flipped(x: Tensor, draws: Draws, pixels: Pixels) -> Tensor:
        return torch.where((draws.uniform(len(x)) < p).view(-1, 1, 1, 1), x.flip(3), x)

    return Change(flipped)


def color(*, brightness: float, contrast: float, saturation: float) -> Part:
    """Blend raw RGB images with black, then with their mean grey, then with each pixel's grey (Howard 2013, §2.2).

    The result is ``factor·image + (1 - factor)·other``, clipped to the range of the raw data, each factor uniform in
    1 ± the strength, as in torchvision's ``adjust_brightness``, ``adjust_contrast`` and ``adjust_saturation``.
    """

    def colored(x: Tensor, draws: Draws, pixels: Pixels) -> Tensor:
        strengths = torch.tensor([brightness, contrast, saturation], device=x.device)[:, None]
        factors = (1 + strengths * (2 * draws.uniform(3, len(x)) - 1)).to(x.dtype).view(3, -1, 1, 1, 1)
        raw = x * pixels.scale + pixels.shift
        raw = (factors[0] * raw).clamp(pixels.lowest, pixels.highest)
        raw = torch.lerp(grey(raw).mean((2, 3), keepdim=True), raw, factors[1]).clamp(pixels.lowest, pixels.highest)
        raw = torch.lerp(grey(raw), raw, factors[2]).clamp(pixels.lowest, pixels.highest)
        return (raw - pixels.shift) / pixels.scale

    return Change(colored, channels=3)


def grey(raw: Tensor) -> Tensor:
    """Return the luma ``[n, 1, h, w]`` of RGB images."""
    weights = torch.tensor(GREY, dtype=raw.dtype, device=raw.device)
    return (raw * weights.view(1, 3, 1, 1)).sum(1, keepdim=True)


def noise(*, std: float) -> Part:
    """Add Gaussian noise to every number of the normalized inputs (Bishop 1995)."""
    return Change(lambda x, draws, pixels: x + std * draws.normal(*x.shape).to(x.dtype), images=False)


def mixup(*, alpha: float) -> Part:
    """x̃ = λx + (1 - λ)x', λ ~ Beta(α, α) for each batch, x' a permutation of it (Zhang et al. 2018, eq. 2, §3)."""

    def mixed(x: Tensor, partners: Tensor, draws: Draws) -> tuple[Tensor, float]:
        share = beta(alpha, draws.once(0))
        return share * x + (1 - share) * partners, share

    return Mixing(mixed, images=False)


def cutmix(*, alpha: float) -> Part:
    """A box of the partner's pixels, of relative area 1 - λ, λ ~ Beta(α, α) (Yun et al. 2019, §3.1, algorithm A1).

    Its middle is uniform over the image, and what lies outside is cut off; the share is that of the pixels kept.
    """

    def mixed(x: Tensor, partners: Tensor, draws: Draws) -> tuple[Tensor, float]:
        height, width = x.shape[2:]
        side = math.sqrt(1 - beta(alpha, draws.once(0)))
        top, bottom = _cut(height, side, draws.once(1))
        left, right = _cut(width, side, draws.once(2))
        x = x.clone()
        x[:, :, top:bottom, left:right] = partners[:, :, top:bottom, left:right]
        return x, 1 - (bottom - top) * (right - left) / (height * width)

    return Mixing(mixed)


def _cut(length: int, share: float, middle: float) -> tuple[int, int]:
    """Return the first pixel of a side's share about its middle, and the first one after it."""
    half, at = int(length * share) // 2, min(int(length * middle), length - 1)
    return max(at - half, 0), min(at + half, length)


def beta(alpha: float, u: float) -> float:
    """Return the value below which a number from Beta(alpha, alpha) lies with probability ``u``."""
    from scipy.special import betaincinv

    return float(betaincinv(alpha, alpha, u))
