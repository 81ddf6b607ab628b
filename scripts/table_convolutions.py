"""How convolutions of a stack are fastest: the table of docs/engines.md.

    python scripts/table_convolutions.py [--device cpu] [--members 4,8,16,32,64] [--batch 128] [--repeats 3] [--update]

The network is ``model=cnn`` on 1 × 28 × 28: two blocks of convolution, ReLU and pooling, and a linear readout; a step
is forward and back, each member with a batch of its own. Forms take turns; on a CPU seconds are the processor's, of
one thread.

- **solo**: one member after another, in ``channels_last`` on a CPU, as a process trains them.
- **grouped**: one convolution with a group a member.
- **bmm**: the places that a kernel sees laid side by side (``unfold``), then a batched product.
- **vmap**: the solo form under ``torch.vmap``, as a stack has it.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from pages import Told, asked
from torch import Tensor
from torch.nn import functional as F

PAGE = Path(__file__).parents[1] / "docs" / "engines.md"
WIDTH, CLASSES, SIDE = 16, 10, 28
Weights = list[Tensor]
Form = Callable[[Weights, Tensor, Tensor], Tensor]


def weights_of(members: int, device: str) -> Weights:
    """Return two kernels, their biases, and the readout's weights and biases, each ``[members, …]``."""
    shapes = [(WIDTH, 1, 3, 3), (WIDTH,), (2 * WIDTH, WIDTH, 3, 3), (2 * WIDTH,)]
    shapes += [(CLASSES, 2 * WIDTH * (SIDE // 4) ** 2), (CLASSES,)]
    return [torch.randn(members, *shape, device=device).mul_(0.05).requires_grad_() for shape in shapes]


def one(weights: Weights, x: Tensor, y: Tensor) -> Tensor:
    """Return the loss of one member, of ``[n, 1, side, side]``."""
    for kernel, bias in (weights[:2], weights[2:4]):
        x = F.max_pool2d(F.conv2d(x, kernel, bias, padding=1).relu(), 2)
    return F.cross_entropy(F.linear(x.flatten(1), *weights[4:]), y)


def solo(weights: Weights, x: Tensor, y: Tensor) -> Tensor:
    """Return the sum of the losses of members one after another; each goes back before the next."""
    total = torch.zeros((), device=x.device)
    for i in range(len(x)):
        own = [w[i] for w in weights]
        if x.device.type == "cpu":
            own = [w.contiguous(memory_format=torch.channels_last) if w.ndim == 4 else w for w in own]
        loss = one(own, x[i], y[i])
        loss.backward()
        total = total + loss.detach()
    return total


def grouped(weights: Weights, x: Tensor, y: Tensor) -> Tensor:
    """Return the sum of the losses, with a group a member in each convolution."""
    members, n = x.shape[:2]
    x = x.transpose(0, 1).flatten(1, 2)
    for kernel, bias in (weights[:2], weights[2:4]):
        x = F.conv2d(x, kernel.flatten(0, 1), bias.flatten(), padding=1, groups=members)
        x = F.max_pool2d(x.relu(), 2)
    return read_out(weights, x.view(n, members, -1).transpose(0, 1), y)


def bmm(weights: Weights, x: Tensor, y: Tensor) -> Tensor:
    """Return the sum of the losses, with the places that a kernel sees side by side."""
    members, n = x.shape[:2]
    for kernel, bias in (weights[:2], weights[2:4]):
        side = x.shape[-1]
        seen = F.unfold(x.flatten(0, 1), 3, padding=1).view(members, n, -1, side * side)
        seen = seen.transpose(2, 3).flatten(1, 2)
        made = torch.baddbmm(bias[:, None], seen, kernel.flatten(2).transpose(1, 2))
        made = made.view(members * n, side * side, -1).transpose(1, 2).unflatten(2, (side, side))
        x = F.max_pool2d(made.relu(), 2).unflatten(0, (members, n))
    return read_out(weights, x.flatten(2), y)


def vmapped(weights: Weights, x: Tensor, y: Tensor) -> Tensor:
    """Return the sum of the losses under ``vmap``."""
    losses: Tensor = torch.vmap(lambda x, y, *own: one(list(own), x, y))(x, y, *weights)
    return losses.sum()


def read_out(weights: Weights, features: Tensor, y: Tensor) -> Tensor:
    """Return the sum of the losses of features ``[members, n, …]``."""
    outputs = torch.baddbmm(weights[5][:, None], features, weights[4].transpose(1, 2))
    return F.cross_entropy(outputs.flatten(0, 1), y.flatten()) * len(y)


FORMS: dict[str, Form] = {"solo": solo, "grouped": grouped, "bmm": bmm, "vmap": vmapped}


def seconds_of(form: Form, weights: Weights, x: Tensor, y: Tensor) -> float:
    """Return how long a step takes, forward and back."""
    on_cuda = x.device.type == "cuda"
    clock = time.perf_counter if on_cuda else time.process_time
    for weight in weights:
        weight.grad = None
    if on_cuda:
        torch.cuda.synchronize()
    began = clock()
    loss = form(weights, x, y)
    if loss.requires_grad:
        loss.backward()  # type: ignore[no-untyped-call]
    if on_cuda:
        torch.cuda.synchronize()
    return clock() - began


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--members", default="4,8,16,32,64")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--update", action="store_true", help="write the table into docs/engines.md")
    arguments = asked(parser, "device", "members", "batch")
    torch.set_num_threads(1)
    tell = Told()
    what = f"{arguments.device}, {torch.backends.cpu.get_cpu_capability()}" if arguments.device == "cpu" else "CUDA"
    tell(
        f"ms of a member's step, batch {arguments.batch}, torch {torch.__version__}, {what}:",
        "",
        f"| members | {' | '.join(FORMS)} |",
        "| --- |" + " --- |" * len(FORMS),
    )
    for members in map(int, arguments.members.split(",")):
        weights = weights_of(members, arguments.device)
        x = torch.randn(members, arguments.batch, 1, SIDE, SIDE, device=arguments.device)
        y = torch.randint(0, CLASSES, (members, arguments.batch), device=arguments.device)
        losses = [float(form(weights, x, y).detach()) for form in FORMS.values()]
        assert max(losses) - min(losses) < 1e-3 * max(losses), f"the forms differ: {losses}"
        taken = [[seconds_of(form, weights, x, y) for form in FORMS.values()] for _ in range(arguments.repeats)]
        ms = [1000 * statistics.median(turns) / members for turns in zip(*taken, strict=True)]
        tell(f"| {members} | {' | '.join(f'{m:.1f}' for m in ms)} |")
    if arguments.update:
        tell.write(PAGE, f"convolutions on {arguments.device}")


if __name__ == "__main__":
    main()
