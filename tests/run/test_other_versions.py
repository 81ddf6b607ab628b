"""What another version left: a checkpoint that cannot be resumed is named, and its run starts again."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from runner.engine import checkpoint
from runner.run import files, record
from runner.run.claim import run_job, run_pack
from runner.run.job import Job
from runner.run.process import Interruption
from runner.run.progress import Told
from tests.support.known import TINY
from tests.support.records import run_folder, summary_of, without_timing

LONG = [*TINY[:2], "max_steps=60", "eval_every=10"]


def of_another_version(content: dict, change: str) -> dict:
    """A run's or a stack's checkpoint as another version might have written it."""
    member = content if "counters" in content else content["members"][0]
    if change == "a part more":
        member["mask"] = None
    elif change == "a counter less":
        del member["counters"]["skipped_steps"]
    elif change == "asked for otherwise":
        content["asked"].append(None)
    else:
        assert change == "weights of other names"
        name = "model" if "model" in content else "weights"
        content[name] = {f"net.{key}": tensor for key, tensor in content[name].items()}
    return content


@pytest.mark.parametrize("engine", ["loop", "fused"])
@pytest.mark.parametrize("change", ["a part more", "a counter less", "asked for otherwise", "weights of other names"])
def test_a_checkpoint_of_another_version_is_named_and_its_run_starts_again(
    engine: str, change: str, job: Callable[..., Job], folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def train(name: str, interruption: Interruption) -> list[Job]:
        jobs = [job(*LONG, f"name={name}", f"engine={engine}", f"seed={seed}") for seed in range(2)]
        if engine == "loop":
            run_job(jobs[0], interruption=interruption)
            return jobs[:1]
        stop = Told(lambda share: setattr(interruption, "requested", stops and share > 0.4))
        run_pack(jobs, "last", interruption, stop)
        return jobs

    stops = False
    undisturbed = train("undisturbed", Interruption())
    stops, stop = True, Interruption()
    stop.requested = engine == "loop"
    train("stopped", stop)
    place = next((folder / "outputs/stopped").glob("*/checkpoint.pt" if engine == "loop" else ".stacks/*.pt"))
    checkpoint.save(place, of_another_version(checkpoint.load(place), change))
    checkpoint.previous(place).unlink()
    capfd.readouterr()
    stops = False
    again = train("stopped", Interruption())
    err = capfd.readouterr().err
    assert err.count("another version") == 1 and str(place.relative_to(folder)) in err and "again" in err
    for one, expected in zip(again, undisturbed, strict=True):
        assert summary_of(one.folder)["resumed_from_step"] is None
        assert without_timing(one.folder) == without_timing(expected.folder)
    train("stopped", Interruption())
    assert "another version" not in capfd.readouterr().err


def test_a_config_of_before_there_was_augmentation_has_none(optbench: Callable, folder: Path) -> None:
    optbench("train", *TINY)
    path = run_folder(folder) / "config.yaml"
    path.write_text("".join(line for line in path.read_text().splitlines(True) if not line.startswith("augment")))
    assert files.read_config(path.parent)["augment"] == {}
    record.rebuild_runs_csv(path.parent.parent)
    assert [row["augment"] for row in files.read_csv(path.parent.parent / "runs.csv")] == ["none"]


def test_a_run_of_another_version_is_kept_and_named(optbench: Callable, folder: Path) -> None:
    optbench("train", *TINY)
    path = run_folder(folder) / "summary.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"torch_version": "1.0.0"}))
    assert "with torch 1.0.0" in optbench("train", *TINY).out
