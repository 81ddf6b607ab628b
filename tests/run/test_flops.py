"""What a forward pass costs, counted by layers where that is all of it."""

import subprocess
import sys
from pathlib import Path

import pytest
from torch.utils.flop_counter import FlopCounterMode

from runner.engine.state import start
from runner.run import flops
from runner.run.build import build
from tests.support.stacks import Make

IN_LAYERS = {
    "mlp": ["model=mlp", "data=digits", "model.residual=true", "model.normalization=batch"],
    "cnn": ["model=cnn", "data=digits"],
    "a cnn of signals": ["model=cnn", "data=mnist1d"],
    "resnet": ["model=resnet", "data=digits", "model.depth=8", "model.shortcut=projection"],
}
ELSEWHERE = {"vit": ["model=vit", "data=digits", "model.patch=4"], "weight norm": ["regularization=weight_norm"]}


@pytest.mark.parametrize("which", [*IN_LAYERS, *ELSEWHERE])
def test_layers_multiply_as_the_counter_of_operations_says(which: str, job: Make) -> None:
    state = start(build(job(*{**IN_LAYERS, **ELSEWHERE}[which])))
    assert flops.multiplies_in_layers(state.model) == (which in IN_LAYERS)
    with FlopCounterMode(display=False) as counter:
        state.model.eval().forward(state.run.probe.x[:1])
    assert flops.forward_flops(state) == counter.get_total_flops()


def test_a_run_does_not_import_the_compiler(tmp_path: Path) -> None:
    """What PyTorch itself imports to draw on ``meta`` is not counted: in 2.10 that is sympy."""
    program = (
        "import sys, torch; torch.empty(1, device='meta').uniform_(); there = set(sys.modules); "
        "from runner.cli.main import main; "
        "code = main(['train', 'max_steps=2', 'epochs=null', 'baselines=false']); "
        "heavy = {'torch._dynamo', 'sympy', 'triton', 'pandas', 'sklearn', 'matplotlib'}; "
        "print(code, *heavy & (set(sys.modules) - there))"
    )
    told = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert told.stdout.splitlines()[-1] == "0", told.stderr[-500:]
