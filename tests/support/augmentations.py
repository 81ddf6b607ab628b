"""Parts of augmentation, with settings and without a run."""

import torch

from runner import augment
from runner.augment import Augmentation, Draws, Pixels
from runner.noise import key

RAW = Pixels(torch.zeros(1, 1, 1, 1), torch.ones(1, 1, 1, 1), 0.0, 255.0)
ALL = ("scale", "rotate", "crop", "flip", "noise", "mixup", "cutmix")


def draws(seed: int = 0, step: int = 0, option: str = "x") -> Draws:
    return Draws(seed, step, option, key(seed, step))


def augmentation(*names: str, seed: int = 0, pixels: Pixels = RAW) -> Augmentation:
    settings = {
        "scale": {"least": 0.8, "most": 1.2},
        "rotate": {"degrees": 20.0},
        "crop": {"pad": 2},
        "flip": {"p": 0.5},
        "color": {"brightness": 0.4, "contrast": 0.4, "saturation": 0.4},
        "noise": {"std": 0.1},
        "mixup": {"alpha": 1.0},
        "cutmix": {"alpha": 1.0},
    }
    parts = {name: getattr(augment, name)(**settings[name]) for name in names}
    return Augmentation(augment.in_order(parts), pixels, seed)
