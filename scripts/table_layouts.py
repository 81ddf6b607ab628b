"""Which memory layout a shipped model trains faster in on this processor: the table of docs/speed.md.

    python scripts/table_layouts.py [--repeats 5] [--steps 6] [--update]

Forms take turns, step by step, on one thread; medians of CPU time are printed, which other processes disturb least.
"""

import argparse
import copy
import statistics
import time
from pathlib import Path

import torch
from pages import Told
from torch import nn
from torch.nn import functional as F

from runner.config.compose import Composer
from runner.engine.optimizers import uncompiled
from runner.run.build import build
from runner.run.job import prepare

PAGE = Path(__file__).parents[1] / "docs" / "speed.md"
SHIPPED = {
    "cnn, 1×8×8": ["model=cnn", "data=digits"],
    "cnn, width 64, 1×8×8": ["model=cnn", "model.width=64", "data=digits"],
    "resnet20, 1×8×8": ["model=resnet", "data=digits"],
    "vit, 1×8×8": ["model=vit", "model.patch=4", "data=digits"],
}
"""Built by their configs; other shapes are made of them below."""
SHAPES = {
    "cnn, 1×28×28": ("cnn", (1, 28, 28)),
    "cnn, 3×32×32": ("cnn", (3, 32, 32)),
    "cnn, width 64, 3×32×32": ("wide", (3, 32, 32)),
    "resnet20, 1×28×28": ("resnet", (1, 28, 28)),
    "resnet20, 3×32×32": ("resnet", (3, 32, 32)),
    "torchvision resnet18, 3×32×32": ("resnet18", (3, 32, 32)),
    "torchvision mobilenet_v3_small, 3×32×32": ("mobilenet_v3_small", (3, 32, 32)),
}
BATCH = 128


def made(kind: str, shape: tuple[int, ...]) -> nn.Module:
    """Return a model of a kind for images of a shape."""
    from runner.model import convolution

    if kind in ("cnn", "wide"):
        return convolution.cnn(shape, 10, width=32 if kind == "cnn" else 64, depth=2, activation="relu")
    if kind == "resnet":
        return convolution.resnet(shape, 10, depth=20, width=16, activation="relu", shortcut="identity")
    from torchvision import models

    return models.get_model(kind, num_classes=10)  # type: ignore[no-any-return]


def contenders() -> dict[str, tuple[nn.Module, tuple[int, ...]]]:
    """Return the models and the shapes of their inputs by their names in the table."""
    composer = Composer.over()
    found = {}
    for name, overrides in SHIPPED.items():
        run = build(prepare(composer.compose([*overrides, "force=true"])))
        found[name] = (run.construct(), tuple(run.train.x.shape[1:]))
    return found | {name: (made(kind, shape), shape) for name, (kind, shape) in SHAPES.items()}


def stepper(model: nn.Module, x: torch.Tensor, y: torch.Tensor, bf16: bool) -> float:
    """Return the CPU seconds of one step of a model, which it makes."""
    began = time.process_time()
    model.zero_grad()
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        loss = F.cross_entropy(model(x).float(), y)
    loss.backward()
    model.optimizer.step()  # type: ignore[union-attr, operator]
    return time.process_time() - began


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--update", action="store_true", help="write the table into docs/speed.md")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    capability = torch.backends.cpu.get_cpu_capability()
    tell = Told()
    tell(
        f"{capability}, torch {torch.__version__}, one thread, batch {BATCH}, AdamW; ms of CPU a step:",
        "",
        "| model | contiguous | channels_last | gain | contiguous, bf16 | channels_last, bf16 | gain |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    )
    for name, (model, shape) in contenders().items():
        x, y = torch.randn(BATCH, *shape), torch.randint(0, 10, (BATCH,))
        forms = {}
        for bf16 in (False, True):
            for layout in (torch.contiguous_format, torch.channels_last):
                own = copy.deepcopy(model).to(memory_format=layout)
                own.__dict__["optimizer"] = uncompiled(torch.optim.AdamW)(own.parameters(), 1e-3, fused=True)
                forms[bf16, layout] = own
        taken: dict[tuple[bool, torch.memory_format], list[float]] = {form: [] for form in forms}
        for turn in range(arguments.repeats * arguments.steps + 1):
            for form, own in forms.items():
                seconds = stepper(own, x, y, form[0])
                taken[form] += [seconds] if turn else []
        ms = [1000 * statistics.median(seconds) for seconds in taken.values()]
        tell(
            f"| {name} | {ms[0]:.1f} | {ms[1]:.1f} | {ms[0] / ms[1]:.2f} | {ms[2]:.1f} | {ms[3]:.1f} "
            f"| {ms[2] / ms[3]:.2f} |"
        )
    if arguments.update:
        tell.write(PAGE, "layouts")


if __name__ == "__main__":
    main()
