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

import torch
from torch import Tensor
from torch.nn import functional as F

from runner.data import Samples
from runner.data.vocabulary import Vocabulary
from runner.engine.hooks import Going, Hook, Mixed, Targets, Weighted
from runner.metrics import AnyLoss, OfInputs, value
from runner.noise import derive, key, normal, uniform

ORDER = ("paraphrase", "synonym", "swap", "word_dropout", "scale", "rotate", "crop", "flip", "color", "noise")
"""In which parts act; those of a user's own come after them."""
GREY = (0.2989, 0.587, 0.114)
"""Of red, green and blue: luma as ITU-R BT.601 weighs it."""


@dataclass(frozen=True)
class Draws:
    """The random numbers of one option in one step."""

    seed: int
    step: int
    option: str
    key: Tensor
    """Of the seed and the step, on the device."""

    def uniform(self, *shape: int) -> Tensor:
        """Return float32 uniform in [0, 1)."""
        return uniform(self.key, derive(self.option), shape)

    def normal(self, *shape: int) -> Tensor:
        """Return float32 of mean 0 and variance 1."""
        return normal(self.key, derive(self.option), shape)

    def once(self, place: int) -> float:
        """Return a number for the whole batch, uniform between 0 and 1: no device is waited for."""
        return derive(self.seed, self.step, self.option, place) / 2**63


@dataclass(frozen=True)
class Pixels:
    """How inputs came from raw ones, ``x = (raw - shift) / scale``, and the range of these."""

    shift: Tensor
    scale: Tensor
    """Both broadcast over ``[n, …]``."""
    lowest: float
    highest: float

    @property
    def black(self) -> Tensor:
        """What a raw 0 is among the inputs."""
        return -self.shift / self.scale


@dataclass(frozen=True)
class Affine:
    """A random linear map of each image, given as matrices ``[n, 2, 2]`` from places in the result to places in it.

    Places are (x, y) in pixels from the image's middle, y downwards.
    """

    of: Callable[[int, Draws], Tensor]


@dataclass(frozen=True)
class Change:
    """A random change of each sample by itself: ``x`` ``[n, …]`` becomes another of its shape."""

    of: Callable[[Tensor, Draws, Pixels], Tensor]
    images: bool = True
    """It takes images ``[n, c, h, w]`` alone."""
    channels: int | None = None
    """It takes images of so many channels alone."""
    smallest: int = 1
    """Pixels that images must have on each side."""


@dataclass(frozen=True)
class Mixing:
    """Each sample of a batch mixed with a partner: gives the mixed samples, and the share that is each one's own."""

    of: Callable[[Tensor, Tensor, Draws], tuple[Tensor, float]]
    images: bool = True


@dataclass(frozen=True)
class Rewording:
    """A random change of sentences, ``[n, length]`` in the numbers of a vocabulary, padded at the end."""

    of: Callable[[Vocabulary, Samples, torch.device], Callable[[Tensor, Draws, Pixels], Tensor]]
    """Given the vocabulary and the training samples, gives the change, as that of a ``Change``."""


Part = Affine | Change | Mixing | Rewording


@dataclass
class Augmentation(Hook):
    """What the batches of a run go through before its steps; evaluations see the samples as they are."""

    parts: Mapping[str, Part]
    """By option, in the order in which they act."""
    pixels: Pixels
    seed: int

    @property
    def alone(self) -> str:
        """Why a stack has none."""
        return f"augment={'+'.join(self.parts)} changes the batches of one run at a time"

    def before_step(self, at: Going, x: Tensor, y: Targets) -> tuple[Tensor, Targets]:
        """Return the present step's batch changed and mixed; of weighted samples, which are not mixed, changed."""
        if isinstance(y, Weighted):
            return self(x, y.y, at.step)[0], y
        assert isinstance(y, Tensor), "nothing else mixes"
        return self(x, y, at.step)

    def __call__(self, x: Tensor, y: Tensor, step: int) -> tuple[Tensor, Tensor | Mixed]:
        """Return a step's samples and targets changed and mixed; those given stay as they are."""
        if not self.parts:
            return x, y
        at = key(self.seed, step, x.device)
        draws = {name: Draws(self.seed, step, name, at) for name in (*self.parts, "mixing")}
        if maps := [part.of(len(x), draws[name]) for name, part in self.parts.items() if isinstance(part, Affine)]:
            x = resampled(x, maps, self.pixels.black)
        for name, part in self.parts.items():
            if isinstance(part, Change):
                x = part.of(x, draws[name], self.pixels)
        mixings = [(name, part) for name, part in self.parts.items() if isinstance(part, Mixing)]
        if not mixings:
            return x, y
        name, mixing = mixings[min(int(draws["mixing"].once(0) * len(mixings)), len(mixings) - 1)]
        partners = draws[name].uniform(len(x)).argsort(stable=True)
        x, share = mixing.of(x, x[partners], draws[name])
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
    """Zoom by a factor uniform in [``least``, ``most``] (Simard, Steinkraus & Platt 2003, §2).

    Raises:
        ValueError: if ``least`` is larger than ``most``.
    """
    if least > most:
        raise ValueError(f"augment.scale.least must be ≤ augment.scale.most, got {least:g} and {most:g}")

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
