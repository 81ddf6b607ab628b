"""Write docs/engines.md: what is trained in a stack, and how far that is from a run by itself.

    python scripts/table_engines.py [NAME …]

With names, those rows alone are measured, of optimizers and of mechanisms, and the others stay as they are.

Every optimizer, and every mechanism with Adam, trains three runs of each model for 50 steps in float64, stacked and
alone, as tests/engine/test_fused.py and tests/engine/test_stacked_hooks.py do.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from runner.engine.run import Run

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "engines.md"
HEAD = """# What is trained in stacks

## Optimizers

The fused engine trains runs that differ in numbers alone as one step. How a stack's members are stepped depends on the
optimizer; what a member becomes does not: the table gives the largest difference of any weight between a member of a
stack and the same run by itself, after 50 steps in float64 (`python scripts/table_engines.py` writes it; the tests
hold every number below 1e-10, and `soap`'s below 1e-9). In float32 the two differ as one run does at another number of
threads.

- **one for many**: the step is the learning rate times something that does not depend on it, so one unmodified
  optimizer steps all members that share its other settings with a rate of 1, and each member goes its own rate's
  share of the way.
- **one each**: every member's views of the stack have an optimizer of their own: as exact, and slower the more members
  there are. `muon` could orthogonalize all members' matrices in batched products five times as fast, but in bfloat16
  those round now and then otherwise than each matrix by itself: a run would end 6e-4 from itself.
- **loop**: the optimizer evaluates a batch several times a step; its runs are trained one by one, a process a core.

| optimizer | stepped | mlp | mlp with batch norm | cnn |
| --- | --- | --- | --- | --- |
"""

MECHANISMS_HEAD = """
## Mechanisms

What acts on a run has a stacked form of its own. The same difference, with `adam`:

- `ema` and `swa` keep their averages stacked; batch norm's statistics of `swa` are measured for all members at once.
- `augment` changes each seed's batch by that seed's draws: runs of one seed see the same, and pay for it once.
- `batch.micro` takes the stack's batch apart; a growing batch grows for all members in the same step.
- `distillation` asks its teacher once for all; `adversarial` moves each member's inputs by its own gradient.
- Under `model.mup` each weight goes its own share of the way.

`batch=adaptive`, `diagnostics`, `sharpness`, `snapshots`, `stop=time`, `stop.all` of limits alone, `optim=lbfgs`,
`optim=sophia`, `optim.wrap=[sam]`, `finetune=gradual` and `discriminative`, `compress=quantize`, `data.weights`,
`amp=fp16`, `deterministic`, `compile`, `device=mps`, and a mechanism of your own that has no stacked form or gives
parameters learning rates of their own (`rate_shares`), are of one run at a time: `engine=fused` refuses them with the
reason.

| mechanism | settings | mlp | mlp with batch norm | cnn |
| --- | --- | --- | --- | --- |
"""


ALONE: dict[str, list[str]] = {"lbfgs": [], "sophia": []}
"""Optimizers that look at one run at a time."""
AFTER = "## Convolutions"
"""What comes behind the tables, and is written by hand."""


def difference(runs: list["Run"]) -> str:
    """Return how far the judged weights of runs that were stacked are from those of the same runs by themselves."""
    from tests.support.stacks import alone, together

    differences = [
        float((tensor - expected[key]).abs().max())
        for run, (state, _) in zip(runs, together(runs), strict=True)
        for expected in [alone(run)[0].judged_weights()]
        for key, tensor in state.judged_weights().items()
        if tensor.is_floating_point()
    ]
    return f"{max(differences):.0e}".replace("0e+00", "0")


def written() -> dict[str, str]:
    """Return the page's lines, by what stands in their first cell."""
    lines = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    return {line.split(" | ")[0].removeprefix("| "): line for line in lines}


def mechanisms(asked: list[str], known: dict[str, str]) -> list[str]:
    """Return the lines of the mechanisms."""
    from tests.support.composed import compose_job
    from tests.support.stacks import LENGTH, MECHANISMS, MODELS, fits, runs_of, three

    lines = []
    for name, settings in MECHANISMS.items():
        if asked and name not in asked:
            lines.append(known[name])
            continue
        cells = ["–"] * len(MODELS)
        for place, model in enumerate(MODELS):
            if fits(settings, model):
                kinds = three("optim=adam")
                make = runs_of(lambda *o: compose_job(list(o)), kinds, *MODELS[model], *LENGTH, *settings)
                cells[place] = difference(make)
        lines.append(f"| {name} | `{' '.join(settings)}` | {' | '.join(cells)} |")
        print(lines[-1], flush=True)
    return lines


def main() -> int:
    """Measure and write the page."""
    sys.path.insert(0, str(ROOT))
    os.chdir(tempfile.mkdtemp())
    from runner.engine.fused.members import stack
    from tests.support.composed import compose_job
    from tests.support.stacks import MECHANISMS, MODELS, OPTIMIZERS, length_of, runs_of, three

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="optimizers and mechanisms")
    asked, known, lines = parser.parse_args().names, written(), list[str]()
    if odd := [name for name in asked if name not in {**OPTIMIZERS, **ALONE, **MECHANISMS}]:
        parser.error(f"{odd[0]!r} is neither an optimizer nor a mechanism of docs/engines.md")
    for name, settings in {**OPTIMIZERS, **ALONE}.items():
        shown = f"`{name}` ({settings[0].partition('=')[2]})" if settings else f"`{name}`"
        if asked and name not in asked:
            lines.append(known[shown])
            continue
        cells, stepped = [], "loop"
        for model in MODELS if name not in ALONE else ():
            if (name, model) == ("muon", "cnn"):
                cells.append("–")
                continue
            kinds = three(f"optim={name}", *settings)
            runs = runs_of(lambda *overrides: compose_job(list(overrides)), kinds, *MODELS[model], *length_of(name))
            cells.append(difference(runs))
            stepped = "one for many" if stack(runs).slices else "one each"
        lines.append(f"| {shown} | {stepped} | {' | '.join(cells or ['–'] * 3)} |")
        print(lines[-1], flush=True)
    whole = [HEAD + "\n".join(lines), MECHANISMS_HEAD + "\n".join(mechanisms(asked, known))]
    rest = PAGE.read_text(encoding="utf-8").partition(AFTER)[2]
    PAGE.write_text("\n".join(whole) + f"\n\n{AFTER}{rest}", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
