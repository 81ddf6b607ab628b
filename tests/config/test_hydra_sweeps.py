"""The contract with Hydra where it runs a sweep: what sweepers and launchers are handed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runner.config import hydra_door
from runner.config.options import configs_dir
from runner.errors import ConfigError


class Swept:
    """A sweeper in our own one's place that says what it got."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.jobs: list[list[str]] = []

        def sweep(sweeper: Any, arguments: list[str]) -> str:
            self.arguments, self.sweeper = arguments, sweeper
            if self.jobs:
                sweeper._launcher.launch(self.jobs, initial_job_idx=0)
            return "swept"

        self.hydra = hydra_door.start(configs_dir())
        from hydra_plugins.optbench import OptbenchSweeper  # after Hydra, which may have loaded the module anew

        monkeypatch.setattr(OptbenchSweeper, "sweep", sweep)

    def run(self, *overrides: str, task: Callable = lambda config: None) -> object:
        return hydra_door.multirun(self.hydra, task, overrides)


@pytest.fixture
def swept(monkeypatch: pytest.MonkeyPatch) -> Swept:
    return Swept(monkeypatch)


def test_a_sweeper_gets_overrides_as_given_and_single_values_are_set_before(swept: Swept, folder: Path) -> None:
    given = ["optim.lr=1e-3", "model=mlp,cnn", "seed=choice(7)", "init=he", "epochs=3"]
    assert swept.run(*given, "hydra/launcher=basic") == "swept"
    assert swept.arguments == given
    config = swept.sweeper.config
    assert (config.epochs, config.seed, config.init._option_) == (3, 0, "he_normal")
    assert type(swept.sweeper._launcher).__name__ == "BasicLauncher"
    assert list(folder.iterdir()) == []


def test_a_sweepers_own_parameters_are_set(swept: Swept) -> None:
    swept.run("+hydra.sweeper.params.seed='0,1'", "hydra.sweeper.unions=['seed=1']")
    assert swept.sweeper._params == {"seed": "0,1"} and swept.sweeper._unions == ["seed=1"]
    swept.run("experiment=grid")
    assert swept.sweeper._params["seed"] == "0,1,2"


def test_references_in_a_sweepers_texts_are_left_to_the_jobs(swept: Swept) -> None:
    given = ["batch.size=${model.width}", "a=\\${b}", "c='\\\\'", "${nowhere}"]
    swept.run(f"hydra.sweeper.unions={hydra_door.pack(given)}")
    assert swept.sweeper._unions == given


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("optim.nonsense=1", "Could not override 'optim.nonsense'"),
        ("hydra.launcher.n_jobs=2", "hydra.launcher.n_jobs is no setting of the launcher that is chosen"),
        ("hydra.sweeper.trials=2", "hydra.sweeper.trials is no setting of the sweeper that is chosen"),
        ("+hydra.launcher.n_jobs=2", "OptbenchLauncher"),
    ],
)
def test_what_a_whole_sweep_cannot_hold_is_refused(line: str, words: str, swept: Swept) -> None:
    with pytest.raises(ConfigError, match=words):
        swept.run(line)


def test_hydras_launchers_compose_a_job_by_its_overrides_and_tell_the_task(swept: Swept, folder: Path) -> None:
    found: list[tuple[object, ...]] = []

    def task(config: Any) -> None:
        job = hydra_door.launched(config, left_out="_spec_")
        found.append((job.config["seed"], job.config["optim"]["args"]["momentum"], job.overrides, job.hydra.job.num))
        assert "hydra" not in config
        assert "_spec_" not in str(job.config)

    swept.jobs = [["optim=custom", "++optim.args.momentum=0.9", "seed=5"]]
    swept.run("seed=5,6", "hydra/launcher=basic", task=task)
    assert found == [(5, 0.9, swept.jobs[0], 0)]


def test_hydras_launchers_refuse_an_argument_that_is_not_forced(swept: Swept, folder: Path) -> None:
    swept.jobs = [["optim=custom", "optim.args.momentum=0.9"]]
    with pytest.raises(ConfigError, match=r"Could not override 'optim\.args\.momentum'"):
        swept.run("hydra/launcher=basic")
