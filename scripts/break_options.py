"""Break options on purpose, one at a time, in a copy of the package; say which test or study notices.

Run: python scripts/break_options.py [WORD …]; with words, those that have them in what is said of them. Exit code 1 if
a break goes unnoticed. It keeps the suite honest: a test that cannot fail on a wrong formula proves nothing about the
right one.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from planted_errors import MECHANISMS, OPTIMIZERS

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Break:
    """A wrong formula, and what must notice it."""

    what: str
    file: str
    right: str
    wrong: str
    noticed_by: str
    """A test file with an optional -k expression behind a space, or ``study NAME``."""


BREAKS = (
    Break(
        "He with fan_out for fan_in",
        "runner/init.py",
        "math.sqrt(weight[0].numel())",
        "math.sqrt(weight[:, 0].numel())",
        "tests/test_init.py variance",
    ),
    Break(
        "Xavier with gain √2",
        "runner/config/canonical.py",
        'known.fact("init", "gain") or 1.0',
        'known.fact("init", "gain") or math.sqrt(2.0)',
        "tests/test_init.py gains",
    ),
    Break(
        "truncation at ± 2, not at ± 2 std",
        "runner/init.py",
        "-2 * std, 2 * std",
        "-2.0, 2.0",
        "tests/test_init.py trunc",
    ),
    Break(
        "LSUV dividing by the variance, not its root",
        "runner/init.py",
        "module.weight.div_(math.sqrt(variance))",
        "module.weight.div_(variance**0.9)",
        "study lsuv",
    ),
    Break(
        "AdamW with coupled decay",
        "runner/optim/from_torch.py",
        "return uncompiled(torch.optim.AdamW)(",
        "return uncompiled(torch.optim.Adam)(",
        "tests/optim/test_from_torch.py adamw",
    ),
    Break(
        "Adam with its moments' decays exchanged",
        "runner/optim/groups.py",
        "    first, second = betas\n    return first, second",
        "    first, second = betas\n    return second, first",
        "tests/optim/test_from_torch.py adam",
    ),
    Break(
        "Adam without bias correction",
        "runner/optim/from_torch.py",
        "    return uncompiled(torch.optim.Adam)(parameters, lr, pair(betas), eps, fused=fusable(parameters))\n",
        "    from runner.study import parts\n\n    return parts.UncorrectedAdam(parameters, lr, pair(betas))\n",
        "study adam-first-step",
    ),
    Break(
        "AMSGrad as Adam",
        "runner/optim/from_torch.py",
        "amsgrad=True",
        "amsgrad=False",
        "tests/optim/test_from_torch.py amsgrad",
    ),
    Break(
        "Nesterov as heavy ball",
        "runner/optim/from_torch.py",
        "nesterov=nesterov",
        "nesterov=False",
        "study quadratic-rates",
    ),
    Break(
        "a schedule off by one step",
        "runner/scheduler.py",
        "return lr * shape(step - warmup, steps - warmup)",
        "return lr * shape(step - warmup + 1, steps - warmup)",
        "tests/test_scheduler.py",
    ),
    Break(
        "warm-up that starts at 0",
        "runner/scheduler.py",
        "return lr * (step + 1) / warmup",
        "return lr * step / warmup",
        "tests/test_scheduler.py",
    ),
    Break(
        "decoupled decay without the learning rate",
        "runner/regularization/decay.py",
        "1 - lr * self.rate",
        "1 - self.rate",
        "tests/optim/test_from_torch.py decay",
    ),
    Break(
        "decoupled decay of a stack without the learning rate",
        "runner/engine/hooks.py",
        "1 - lr * rates",
        "1 - rates",
        "tests/engine/test_fused.py weight_decay",
    ),
    Break(
        "parts of a batch that count alike, whatever their samples",
        "runner/engine/accumulate.py",
        "weighted = len(part) / n * found",
        "weighted = size / n * found",
        "tests/engine/test_accumulate.py takes_the_steps",
    ),
    Break(
        "a noise scale from one size of batches alone",
        "runner/batch/noise_scale.py",
        "return noise, whole - noise / n",
        "return noise, whole",
        "tests/engine/test_accumulate.py estimates",
    ),
    Break(
        "L2 without its half",
        "runner/regularization/penalties.py",
        "0.5 * torch.stack([w.square()",
        "torch.stack([w.square()",
        "study decay-forms",
    ),
    Break(
        "normalization with the validation set's statistics",
        "runner/data/split.py",
        "_statistics(parts[0].x, normalize)",
        "_statistics(parts[1].x, normalize)",
        "tests/data/test_split.py",
    ),
    Break(
        "a bootstrap without replacement",
        "runner/data/split.py",
        "drawing.integers(len(train), size=len(train))",
        "drawing.permutation(len(train))",
        "tests/data/test_split.py bootstrap",
    ),
    Break(
        "a plateau whose every fall counts",
        "runner/stop.py",
        "fell = loss < self.loss - self.min_delta",
        "fell = loss < self.loss",
        "tests/test_stop.py plateau",
    ),
    Break(
        "ROC AUC without ties",
        "runner/metrics.py",
        "(ends - (counts.double() - 1) / 2)[which]",
        "ends[which]",
        "tests/test_metrics.py",
    ),
    *(Break(*planted) for planted in (*OPTIMIZERS, *MECHANISMS)),
)


def notices(broken: Break, root: Path) -> bool:
    """Apply a break to a copy and run what must notice it."""
    path = root / broken.file
    text = path.read_text(encoding="utf-8")
    if text.count(broken.right) != 1:
        raise SystemExit(
            f"{broken.what}: {broken.file} holds {broken.right!r} {text.count(broken.right)} times, not once"
        )
    path.write_text(text.replace(broken.right, broken.wrong), encoding="utf-8")
    try:
        return fails(broken.noticed_by, root)
    finally:
        path.write_text(text, encoding="utf-8")


def fails(noticing: str, root: Path) -> bool:
    """Say whether a test or a study of a copy fails."""
    environment = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    if noticing.startswith("study "):
        with tempfile.TemporaryDirectory() as place:
            call = [sys.executable, "-m", "runner", *noticing.split()]
            done = subprocess.run(call, cwd=place, env=environment, capture_output=True, text=True, check=False)
        return ": not_reproduced" in done.stdout
    file, _, chosen = noticing.partition(" ")
    call = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", file]
    call += ["-k", chosen] if chosen else []
    return subprocess.run(call, cwd=root, env=environment, capture_output=True, check=False).returncode == 1


def main() -> int:
    """Try every break."""
    with tempfile.TemporaryDirectory() as place:
        root = Path(place) / "copy"
        ignored = shutil.ignore_patterns(".git", ".venv", "outputs", "__pycache__", ".*_cache")
        shutil.copytree(ROOT, root, ignore=ignored)
        unnoticed = 0
        chosen = [b for b in BREAKS if all(word in b.what for word in sys.argv[1:])]
        if not chosen:
            raise SystemExit(f"no break is called {' '.join(sys.argv[1:])}")
        for noticing in dict.fromkeys(b.noticed_by for b in chosen):  # what fails by itself would notice everything
            if fails(noticing, root):
                raise SystemExit(f"{noticing} fails where nothing is broken")
        for broken in chosen:
            found = notices(broken, root)
            unnoticed += not found
            print(f"{'noticed  ' if found else 'UNNOTICED'}  {broken.what:<52} {broken.noticed_by}", flush=True)
    print(f"{len(chosen) - unnoticed} of {len(chosen)} breaks noticed")
    return 1 if unnoticed else 0


if __name__ == "__main__":
    sys.exit(main())
