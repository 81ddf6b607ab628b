"""Augmentation against its definitions."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from runner import augment
from runner.augment import Pixels
from runner.engine.targets import Mixed
from runner.metrics import value
from tests.support.augmentations import ALL, RAW, augmentation, draws

NORMALIZED = Pixels(
    torch.tensor([100.0, 50.0, 20.0]).view(1, 3, 1, 1), torch.tensor([50.0, 20.0, 10.0]).view(1, 3, 1, 1), 0.0, 255.0
)


@dataclass
class Given:
    """Draws of one's own choice, the same for every sample."""

    u: float
    numbers: Sequence[float] = ()

    def uniform(self, *shape: int) -> Tensor:
        return torch.full(shape, self.u)

    def once(self, place: int) -> float:
        return self.numbers[place]


def marked(n: int = 1, height: int = 8, width: int = 8) -> Tensor:
    """Images of which no two pixels, channels or samples are alike, none of them 0."""
    return 1 + torch.arange(n * 3 * height * width, dtype=torch.float32).view(n, 3, height, width)


def slopes(height: int, width: int) -> tuple[Tensor, Tensor]:
    """How far each pixel lies from the middle, to the right and downwards."""
    x, y = torch.arange(width) - (width - 1) / 2, torch.arange(height) - (height - 1) / 2
    return x.expand(height, width), y[:, None].expand(height, width)


# ---- geometry


@pytest.mark.parametrize("pixels", [RAW, NORMALIZED], ids=["raw", "normalized"])
def test_crop_moves_each_image_by_whole_pixels_over_black(pixels: Pixels) -> None:
    pad, x = 2, marked(2000)
    padded = F.pad(x - pixels.black, (pad,) * 4) + pixels.black
    shifts = {(i, j): padded[:, :, i : i + 8, j : j + 8] for i in range(2 * pad + 1) for j in range(2 * pad + 1)}
    got = augment.crop(pad=pad).of(x, draws(), pixels)
    found = torch.stack([(got - cut).abs().flatten(1).amax(1) < 1e-2 for cut in shifts.values()])
    assert (found.sum(0) == 1).all()
    expected = len(x) / len(shifts)
    chi_square = ((found.sum(1) - expected) ** 2 / expected).sum().item()
    assert chi_square < 24 + 6 * math.sqrt(2 * 24)
    if pixels is RAW:
        assert any(torch.equal(got[0], cut[0]) for cut in shifts.values())


def test_crop_takes_its_corner_from_two_numbers() -> None:
    x = marked()
    padded = F.pad(x, (3,) * 4)
    for u, at in ((0.0, 0), (0.5, 3), (1 - 2**-24, 6)):
        assert torch.equal(augment.crop(pad=3).of(x, Given(u), RAW), padded[:, :, at : at + 8, at : at + 8])


@pytest.mark.parametrize("p", [0.0, 0.25, 0.5, 1.0])
def test_flip_mirrors_its_share_of_the_images_left_to_right(p: float) -> None:
    x = marked(2000, 4, 5)
    got = augment.flip(p=p).of(x, draws(), RAW)
    mirrored = (got == x[..., [4, 3, 2, 1, 0]]).flatten(1).all(1)
    assert torch.equal(got[~mirrored], x[~mirrored])
    assert mirrored.double().mean().item() == pytest.approx(p, abs=5 * math.sqrt(p * (1 - p) / 2000))


@pytest.mark.parametrize(("u", "quarters"), [(1.0, 1), (0.0, -1), (0.5, 0)])
def test_rotation_by_a_right_angle_is_that_of_the_array(u: float, quarters: int) -> None:
    x = marked(2)
    got = augment.resampled(x, [augment.rotate(degrees=90.0).of(2, Given(u))], RAW.black)
    torch.testing.assert_close(got, x.rot90(quarters, (2, 3)), atol=2e-3, rtol=0)


def test_rotation_of_an_oblong_image_turns_places_in_pixels() -> None:
    right, down = slopes(9, 21)
    x = torch.stack([right, down])[None]
    angle = math.radians(20)
    got = augment.resampled(x, [augment.rotate(degrees=20.0).of(1, Given(1.0))], RAW.black)[0]
    inside = (right.abs() < 4) & (down.abs() < 2)  # what comes from outside is black
    torch.testing.assert_close(got[0][inside], (math.cos(angle) * right - math.sin(angle) * down)[inside])
    torch.testing.assert_close(got[1][inside], (math.sin(angle) * right + math.cos(angle) * down)[inside])


def test_angles_are_uniform_between_their_bounds() -> None:
    matrices = augment.rotate(degrees=30.0).of(5000, draws()).double()
    angles = torch.rad2deg(torch.atan2(matrices[:, 1, 0], matrices[:, 0, 0]))
    assert angles.abs().max() <= 30 + 1e-4
    assert angles.mean().item() == pytest.approx(0, abs=5 * 30 / math.sqrt(3 * 5000))
    assert angles.std().item() == pytest.approx(30 / math.sqrt(3), rel=0.05)
    torch.testing.assert_close(torch.linalg.det(matrices), torch.ones(5000, dtype=torch.float64))


@pytest.mark.parametrize(("u", "factor"), [(0.0, 0.5), (1.0, 2.0), (0.5, 1.25)])
def test_zoom_magnifies_by_its_factor_about_the_middle(u: float, factor: float) -> None:
    right, down = slopes(10, 16)
    x = torch.stack([right, down])[None]
    got = augment.resampled(x, [augment.scale(least=0.5, most=2.0).of(1, Given(u))], RAW.black)[0]
    inside = (right.abs() < 7 * min(factor, 1)) & (down.abs() < 4 * min(factor, 1))
    torch.testing.assert_close(got[:, inside], torch.stack([right, down])[:, inside] / factor)
    outside = (right.abs() > 8.6 * factor) | (down.abs() > 5.6 * factor)
    assert (got[:, outside] == 0).all()
    assert outside.any() == (factor < 1)


def test_zoom_factors_are_uniform_between_their_bounds() -> None:
    factors = 1 / augment.scale(least=0.5, most=2.0).of(5000, draws())[:, 0, 0].double()
    assert 0.5 <= factors.min() < 0.51
    assert 1.99 < factors.max() <= 2
    assert factors.mean().item() == pytest.approx(1.25, abs=5 * 1.5 / math.sqrt(12 * 5000))
    assert factors.std().item() == pytest.approx(1.5 / math.sqrt(12), rel=0.05)


def test_zoom_and_rotation_resample_once() -> None:
    right, down = slopes(11, 11)
    x = torch.stack([right, down])[None]
    maps = [augment.scale(least=0.5, most=2.0).of(1, Given(1.0)), augment.rotate(degrees=90.0).of(1, Given(1.0))]
    got = augment.resampled(x, maps, RAW.black)[0]
    torch.testing.assert_close(got, torch.stack([-down / 2, right / 2]), atol=1e-5, rtol=0)


def test_black_around_a_normalized_image_is_the_raw_zero() -> None:
    raw = torch.full((1, 3, 8, 8), 200.0)
    x = (raw - NORMALIZED.shift) / NORMALIZED.scale
    maps = [augment.scale(least=0.5, most=2.0).of(1, Given(0.0))]
    got = augment.resampled(x, maps, NORMALIZED.black) * NORMALIZED.scale + NORMALIZED.shift
    torch.testing.assert_close(got[:, :, 3:5, 3:5], torch.full((1, 3, 2, 2), 200.0))
    torch.testing.assert_close(got[:, :, 0], torch.zeros(1, 3, 8), atol=1e-4, rtol=0)


# ---- color and noise


def test_color_blends_as_its_formulas_say() -> None:
    generator = torch.Generator().manual_seed(0)
    raw = torch.randint(0, 256, (1, 3, 5, 7), generator=generator).double()
    x = (raw - NORMALIZED.shift) / NORMALIZED.scale
    for u, sign in ((0.0, -1), (1.0, 1)):
        got = augment.color(brightness=0.4, contrast=0.3, saturation=0.2).of(x, Given(u), NORMALIZED)
        expected = torch.empty_like(raw)
        brighter = [
            [[min(255.0, (1 + sign * 0.4) * raw[0, c, i, j].item()) for j in range(7)] for i in range(5)]
            for c in range(3)
        ]
        luma = lambda image, i, j: 0.2989 * image[0][i][j] + 0.587 * image[1][i][j] + 0.114 * image[2][i][j]  # noqa: E731
        mean = sum(luma(brighter, i, j) for i in range(5) for j in range(7)) / 35
        f = 1 + sign * 0.3
        contrasted = [
            [[min(255.0, max(0.0, f * v + (1 - f) * mean)) for v in row] for row in channel] for channel in brighter
        ]
        f = 1 + sign * 0.2
        for c in range(3):
            for i in range(5):
                for j in range(7):
                    value = f * contrasted[c][i][j] + (1 - f) * luma(contrasted, i, j)
                    expected[0, c, i, j] = min(255.0, max(0.0, value))
        torch.testing.assert_close(
            got * NORMALIZED.scale + NORMALIZED.shift, expected.float().double(), rtol=1e-5, atol=1e-3
        )


def test_color_of_no_strength_leaves_images() -> None:
    x = (marked() - NORMALIZED.shift) / NORMALIZED.scale
    torch.testing.assert_close(augment.color(brightness=0, contrast=0, saturation=0).of(x, draws(), NORMALIZED), x)


def test_color_changes_each_image_by_factors_of_its_own() -> None:
    x = torch.full((200, 3, 4, 4), 100.0)
    got = augment.color(brightness=0.4, contrast=0.0, saturation=0.0).of(x, draws(), RAW)[:, 0, 0, 0]
    assert 60 <= got.min() < 65
    assert 135 < got.max() <= 140
    assert len(got.unique()) > 190


def test_noise_is_gaussian_of_its_standard_deviation() -> None:
    x = torch.randn(300, 400, generator=torch.Generator().manual_seed(0))
    added = (augment.noise(std=0.3).of(x, draws(), RAW) - x).double() / 0.3
    n = x.numel()
    assert added.mean().item() == pytest.approx(0, abs=5 / math.sqrt(n))
    assert added.square().mean().item() == pytest.approx(1, abs=5 * math.sqrt(2 / n))
    assert added.pow(4).mean().item() == pytest.approx(3, abs=5 * math.sqrt(96 / n))
    assert len(added[:, 0].unique()) == 300


# ---- mixing


@pytest.mark.parametrize("alpha", [0.1, 0.2, 1.0, 4.0])
def test_shares_are_beta_distributed(alpha: float) -> None:
    shares = torch.tensor([augment.beta(alpha, draws(step=step).once(0)) for step in range(4000)], dtype=torch.float64)
    variance = 1 / (4 * (2 * alpha + 1))
    assert shares.mean().item() == pytest.approx(0.5, abs=5 * math.sqrt(variance / 4000))
    assert shares.var().item() == pytest.approx(variance, rel=0.06)
    if alpha == 1:
        counts = torch.histc(shares, 20, 0, 1)
        assert ((counts - 200) ** 2 / 200).sum() < 19 + 6 * math.sqrt(2 * 19)


def test_beta_inverts_its_distribution_function() -> None:
    assert augment.beta(1.0, 0.3) == pytest.approx(0.3)
    assert augment.beta(0.5, 0.3) == pytest.approx(math.sin(math.pi * 0.3 / 2) ** 2)  # the arcsine distribution
    share = augment.beta(2.0, 0.3)
    assert 3 * share**2 - 2 * share**3 == pytest.approx(0.3)
    for alpha in (0.01, 1000):
        assert all(0 <= augment.beta(alpha, u) <= 1 for u in (0.0, 1e-18, 0.5, 1.0))


def test_mixup_averages_each_sample_with_its_partner() -> None:
    x, y = torch.eye(50, dtype=torch.float64), torch.arange(50)
    used, alone = set(), 0
    for step in range(20):
        got, targets = augmentation("mixup")(x, y, step)
        assert isinstance(targets, Mixed) and len(targets) == 50
        assert torch.equal(targets.y, y)
        assert sorted(targets.other.tolist()) == list(range(50))
        expected = targets.share * x + (1 - targets.share) * x[targets.other]
        torch.testing.assert_close(got, expected)
        torch.testing.assert_close(got.sum(1), torch.ones(50, dtype=torch.float64))
        used.add(tuple(targets.other.tolist()))
        alone += int((targets.other == y).sum())
    assert len(used) == 20
    assert alone < 45  # one in 50, as in random permutations


@pytest.mark.parametrize("shape", [(8, 8), (5, 12)], ids=str)
def test_cutmix_takes_a_box_and_its_share_is_what_is_left(shape: tuple[int, int]) -> None:
    x, y = marked(20, *shape), torch.arange(20)
    whole, cut_off = [], 0
    for step in range(300):
        got, targets = augmentation("cutmix")(x, y, step)
        own, partners = (got == x).all(1), (got == x[targets.other]).all(1)
        assert (own | partners).all()
        taken = ~own[targets.other != y]
        box = taken[0]
        assert (taken == box).all()
        rows, columns = box.any(1), box.any(0)
        assert torch.equal(box, rows[:, None] & columns)
        for line in (rows, columns):
            there = line.nonzero().flatten()
            assert len(there) == 0 or there[-1] - there[0] + 1 == len(there)
        assert targets.share == pytest.approx(1 - box.sum().item() / box.numel())
        whole.append(targets.share)
        cut_off += bool(rows[0] or rows[-1] or columns[0] or columns[-1])
    assert torch.equal(x, marked(20, *shape))
    assert len(set(whole)) > 10
    assert cut_off > 50


@pytest.mark.parametrize(
    ("middle", "share"),
    [((0.5, 0.5), 1 - 16 / 64), ((0.0, 0.0), 1 - 4 / 64), ((0.99, 0.5), 1 - 12 / 64)],
    ids=["inside", "in a corner", "over an edge"],
)
def test_cutmix_has_the_area_that_was_drawn_but_for_what_is_cut_off(middle: tuple[float, float], share: float) -> None:
    # λ = 3/4: sides of half the image, 4 of 8 pixels
    got, kept = augment.cutmix(alpha=1.0).of(torch.zeros(1, 1, 8, 8), torch.ones(1, 1, 8, 8), Given(0, (0.75, *middle)))
    assert kept == share
    assert got.sum().item() == pytest.approx(64 * (1 - share))


def test_where_both_are_chosen_a_coin_decides_between_mixup_and_cutmix() -> None:
    x, y = marked(8), torch.arange(8)
    both, one, other = augmentation("mixup", "cutmix"), augmentation("mixup"), augmentation("cutmix")
    mixed = 0
    for step in range(400):
        got = both(x, y, step)[0]
        is_mixed, is_cut = torch.equal(got, one(x, y, step)[0]), torch.equal(got, other(x, y, step)[0])
        assert is_mixed or is_cut
        mixed += is_mixed
    assert mixed == pytest.approx(200, abs=5 * math.sqrt(100))


def test_the_loss_of_mixed_classes_is_mixed_and_numbers_are_mixed_themselves() -> None:
    outputs = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    y, other = torch.tensor([0, 1, 2, 3, 0, 1]), torch.tensor([3, 3, 0, 0, 2, 1])
    loss = partial(value, augmentation("mixup").loss(F.cross_entropy), x=torch.zeros(6, 1))
    expected = -(0.3 * F.one_hot(y, 4) + 0.7 * F.one_hot(other, 4)) * outputs.log_softmax(1)
    torch.testing.assert_close(loss(outputs, Mixed(y, other, 0.3)), expected.sum(1).mean())
    assert torch.equal(loss(outputs, y), F.cross_entropy(outputs, y))
    assert augmentation("crop").loss(F.cross_entropy) is F.cross_entropy
    numbers = torch.arange(10, dtype=torch.float64)[:, None]
    x, mixed = augmentation("mixup")(numbers.clone(), 2 * numbers, 3)
    torch.testing.assert_close(mixed, 2 * x)
    assert not torch.equal(mixed, 2 * numbers)


# ---- randomness


@pytest.mark.parametrize("names", [*((n,) for n in (*ALL, "color")), ALL], ids="+".join)
def test_what_is_random_is_a_function_of_seed_and_step(names: tuple[str, ...]) -> None:
    x, y = marked(64), torch.arange(64)
    first = augmentation(*names)(x, y, 5)[0]
    torch.manual_seed(99)
    assert torch.equal(augmentation(*reversed(names))(x, y, 5)[0], first)
    assert not torch.equal(augmentation(*names)(x, y, 6)[0], first)
    assert not torch.equal(augmentation(*names, seed=1)(x, y, 5)[0], first)
    assert torch.equal(x, marked(64))


@pytest.mark.parametrize("name", ["scale", "rotate", "crop", "noise", "color"])
def test_each_sample_is_changed_in_its_own_way(name: str) -> None:
    same = marked().expand(40, -1, -1, -1)
    got = augmentation(name)(same, torch.zeros(40, dtype=torch.long), 0)[0]
    assert len(got.flatten(1).unique(dim=0)) > (15 if name == "crop" else 38)


def test_options_draw_apart() -> None:
    one, other = draws(option="crop").uniform(10000), draws(option="flip").uniform(10000)
    assert abs(12 * ((one - 0.5) * (other - 0.5)).mean().item()) < 5 / math.sqrt(10000)
    assert draws(option="mixup").once(0) != draws(option="cutmix").once(0)


def test_parts_act_in_one_order() -> None:
    assert list(augmentation(*reversed(ALL), "color").parts) == [
        *("scale", "rotate", "crop", "flip", "color", "noise", "cutmix", "mixup")
    ]
    x, y = marked(6), torch.arange(6)
    parts = augmentation("noise", "flip", "crop", "rotate").parts
    by_hand = augment.resampled(x, [parts["rotate"].of(6, draws(option="rotate"))], RAW.black)
    for name in ("crop", "flip", "noise"):
        by_hand = parts[name].of(by_hand, draws(option=name), RAW)
    assert torch.equal(augmentation("noise", "flip", "crop", "rotate")(x, y, 0)[0], by_hand)


@pytest.mark.cuda
def test_augmentation_is_the_same_on_cuda() -> None:
    x, y = marked(32), torch.arange(32)
    there = augmentation(*ALL, "color", pixels=Pixels(RAW.shift.cuda(), RAW.scale.cuda(), 0.0, 255.0))
    for step in range(6):
        got, targets = there(x.cuda(), y.cuda(), step)
        here, expected = augmentation(*ALL, "color")(x, y, step)
        torch.testing.assert_close(got.cpu(), here, rtol=1e-3, atol=0.1)
        assert torch.equal(targets.other.cpu(), expected.other) and targets.share == expected.share
