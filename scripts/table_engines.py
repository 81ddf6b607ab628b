"""Write docs/engines.md: how each optimizer is trained in a stack, and how far that is from a run by itself.

    python scripts/table_engines.py

Every optimizer trains three runs of each model for 50 steps in float64, stacked and alone, as
tests/engine/test_fused.py does.
"""

import os
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "engines.md"
HEAD = """# How optimizers are stacked

The fused engine trains runs that differ in numbers alone as one step. How a stack's members are stepped depends on the
optimizer; what a member becomes does not: the table gives the largest difference of any weight between a member of a
stack and the same run by itself, after 50 steps in float64 (`python scripts/table_engines.py` writes it; the tests
hold every number below 1e-10). In float32 the two differ as one run does at another number of threads.

- **one for many**: the step is the learning rate times something that does not depend on it, so one unmodified
  `torch.optim` steps all members that share its other settings with a rate of 1, and each member goes its own rate's
  share of the way.
- **one each**: every member's views of the stack have an optimizer of their own: as exact, and slower the more members
  there are.
- **loop**: the optimizer evaluates a batch several times a step; its runs are trained one by one, a process a core.

| optimizer | stepped | mlp | mlp with batch norm | cnn |
| --- | --- | --- | --- | --- |
"""


def main() -> int:
    """Measure and write the page."""
    sys.path.insert(0, str(ROOT))
    os.chdir(tempfile.mkdtemp())
    from runner.engine.fused.members import stack
    from tests.support.composed import compose_job
    from tests.support.stacks import MODELS, OPTIMIZERS, alone, length_of, runs_of, three, together

    lines = []
    for name, settings in {**OPTIMIZERS, "lbfgs": []}.items():
        cells, stepped = [], "loop"
        for model in MODELS if name != "lbfgs" else ():
            if (name, model) == ("muon", "cnn"):
                cells.append("–")
                continue
            kinds = three(f"optim={name}", *settings)
            runs = runs_of(lambda *overrides: compose_job(list(overrides)), kinds, *MODELS[model], *length_of(name))
            differences = [
                float((tensor - expected[key]).abs().max())
                for run, (state, _) in zip(runs, together(runs), strict=True)
                for expected in [alone(run)[0].model.state_dict()]
                for key, tensor in state.model.state_dict().items()
                if tensor.is_floating_point()
            ]
            cells.append(f"{max(differences):.0e}".replace("0e+00", "0"))
            stepped = "one for many" if stack(runs).slices else "one each"
        shown = f"`{name}` ({settings[0].partition('=')[2]})" if settings else f"`{name}`"
        lines.append(f"| {shown} | {stepped} | {' | '.join(cells or ['–'] * 3)} |")
        print(lines[-1], flush=True)
    PAGE.write_text(HEAD + "\n".join(lines) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
