"""Runs that several processes train: the processes are started once, and train one case after another."""

import io
import json
import sys
import traceback
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from subprocess import Popen
from typing import Any

import torch
import torch.distributed as dist

from runner.engine import loop
from runner.engine.run import Run
from runner.engine.state import State, start
from runner.parallel import Layout
from runner.run.build import build
from tests.support.composed import compose_job

Case = dict[str, Any]
"""``name``, ``layout`` (fields of Layout), ``overrides``; optionally ``save_at``, a step at which it is saved whole."""


def rows_and_weights(run: Run, save_at: int | None = None, saved: Any = None) -> dict[str, Any]:
    """What a run comes to: its rows, its whole weights, and its whole state at a step."""
    state = start(run)
    if saved is not None:
        state.load_state_dict(saved if run.spread is None else run.spread.part(saved, state))
    rows, held = [], None
    for evaluation in loop.train(state, lambda state, loss: False):
        rows.append(evaluation.row)
        if state.step == save_at:
            held = _copied(whole(state, state.state_dict()))
    return {"rows": rows, "weights": whole(state, state.judged_weights()), "state": held}


def _copied(content: Any) -> Any:
    """What is read of content that was saved."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=True)


def whole(state: State, content: Any) -> Any:
    return content if state.spread is None else state.spread.whole(content)


def single(case: Case) -> dict[str, Any]:
    return rows_and_weights(build(compose_job(case["overrides"])), case.get("save_at"))


def spread(case: Case) -> dict[str, Any]:
    from runner.parallel.processes import Processes

    job = compose_job(case["overrides"])
    run = build(job)
    made = Processes(Layout(**case["layout"]), "cpu", run.train.x[:1], job.config["optim"]["decay_bias_and_norm"])
    saved = torch.load(case["saved"], weights_only=True) if "saved" in case else None
    return rows_and_weights(replace(run, spread=made), case.get("save_at"), saved)


def together(cases: Sequence[Case], devices: int, folder: Path, seconds: float = 600) -> dict[str, Any]:
    """Train cases on so many processes, and return what each came to, or its traceback."""
    folder.mkdir(exist_ok=True)
    (folder / "cases.json").write_text(json.dumps(list(cases)))
    arguments = [sys.executable, "-m", "tests.support.spread_runs", str(folder), str(devices)]
    started = [Popen([*arguments, str(rank)]) for rank in range(devices)]
    try:
        codes = [process.wait(seconds) for process in started]
    finally:
        for process in started:
            process.kill()
    found: dict[str, Any] = torch.load(folder / "found.pt", weights_only=True)
    assert codes == [0] * devices or any("error" in one for one in found.values()), codes
    return found


def _serve(folder: Path, devices: int, rank: int) -> None:
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=devices)
    found: dict[str, Any] = {}
    for case in json.loads((folder / "cases.json").read_text()):
        try:
            found[case["name"]] = spread(case)
        except Exception:
            found[case["name"]] = {"error": traceback.format_exc()}
            if rank:
                print(case["name"], traceback.format_exc()[-1500:], file=sys.stderr)
        if rank == 0:
            torch.save(found, folder / "found.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    _serve(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
