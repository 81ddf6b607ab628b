"""What a sweep takes: all that a single run takes, whoever composes its jobs; and what is missing is named."""

import shlex
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from runner.config import compose, hydra_door
from runner.config.compose import Composed, Composer
from runner.config.imports import standing_in
from runner.errors import ConfigError
from runner.run.job import prepare
from tests.support.pasted import pasted
from tests.support.random_runs import draw
from tests.support.records import run_folders

NET = ["model=custom", "model.target=tests.own_parts.Net"]
RMSPROP = ["optim=custom", "optim.target=torch.optim.RMSprop"]
JOINED = ["data=concat", "data.parts=[linear_regression,quadratic]", "model=linear"]


@pytest.fixture
def composer() -> Composer:
    return Composer.over()


def sweep(overrides: list[str]) -> list[Composed]:
    return pasted(shlex.join(["optbench", "train", "-m", *overrides]))


ARGUMENTS = [
    [*NET, "model.args.width=8"],
    [*NET, "model.args={width: 8}"],
    [*NET, "+model.args.width=8"],
    [*NET, "++model.args.width=8"],
    [*NET, "model.args={width: 4}", "model.args.width=8"],
    [*RMSPROP, "optim.args.momentum=0.9", "optim.args.alpha=0.95"],
    [*RMSPROP, "optim.args.momentum=null"],
    [*RMSPROP, "optim.args.kind='1'"],
    [*RMSPROP, "optim.args.kind=str(1)"],
    [*RMSPROP, "optim.args.deep.er=1", "optim.args.deep.est=[1,{a: x}]"],
    [*JOINED, "data.args.linear_regression.features=3", "data.args.quadratic={samples: 20}"],
    ["optim=collection", "optim.name=lion", "optim.args.use_gc=true"],
    ["model=torchvision", "model.name=resnet18", "model.args.dropout=0.1"],
]


@pytest.mark.parametrize("overrides", ARGUMENTS, ids=" ".join)
def test_an_argument_of_ones_own_part_is_given_to_a_sweep_as_to_a_run(overrides: list[str], composer: Composer) -> None:
    assert [job.config for job in sweep(overrides)] == [composer.compose(overrides).config]


@pytest.mark.parametrize(
    ("given", "axis", "values"),
    [
        ([*RMSPROP, "optim.args.alpha=0.95"], "optim.args.momentum", ["0.1", "0.9"]),
        (RMSPROP, "optim.args.deep.er", ["1", "null", "[1,2]", "{a: 1}", "'2'"]),
        (NET, "+model.args.width", ["8", "16"]),
        (NET, "model.args", ["{width: 8}", "{}"]),
    ],
)
def test_an_argument_of_ones_own_part_is_an_axis(
    given: list[str], axis: str, values: list[str], composer: Composer
) -> None:
    singles = [composer.compose([*given, f"{axis}={value}"]).config for value in values]
    assert [job.config for job in sweep([*given, f"{axis}={','.join(values)}"])] == singles


def test_one_value_is_given_to_options_that_are_an_axis(composer: Composer) -> None:
    found = [job.config["optim"] for job in sweep(["optim=momentum,nesterov", "optim.momentum=0.5"])]
    assert [(o["_option_"], o["momentum"]) for o in found] == [("momentum", 0.5), ("nesterov", 0.5)]


def test_a_part_of_a_union_is_each_jobs_own() -> None:
    texts = ["name='it\\'s 1'", "batch.size=${model.width}", "model.width=8,16"]
    found = [job.config for job in sweep(["seed=1", "+", *texts, "+", *NET, "model.args={width: '${seed}'}"])]
    assert [(c["name"], c["batch"]["size"]) for c in found[:2]] == [("it's 1", 8), ("it's 1", 16)]
    assert found[2]["model"]["args"] == {"width": 1}


@pytest.mark.parametrize("launcher", ["optbench", "basic"])
def test_hydras_launcher_runs_a_sweep_with_arguments_as_ours_does(
    launcher: str, optbench: Callable, folder: Path
) -> None:
    grid = [*RMSPROP, "optim.args.momentum=0.1,0.9", "optim.args.centered=true", *NET, "model.args={width: 8}"]
    found = optbench("train", "-m", "max_steps=2", *grid, "optim.lr=0.01", f"hydra/launcher={launcher}")
    assert found.code == 0, found.err
    assert len(run_folders(folder)) == 2
    assert optbench("train", "max_steps=2", *grid[:2], "optim.args.momentum=0.9", *grid[3:], "optim.lr=0.01").code == 0
    assert len(run_folders(folder)) == 2


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["optim.lrr=1", "seed=0,1"], "unknown key 'optim.lrr' in optim.lrr=1; did you mean 'optim.lr'"),
        (["+optim.lr=1"], "optim.lr exists already, leave out the +"),
        ([*RMSPROP, "optim.args={a: 1}", "+optim.args.a=2"], "Either remove + prefix: 'optim.args.a=2'"),
        (["model.args.width=8"], "model.args.width is a setting of model=custom, torchvision, but model=mlp is chosen"),
        (["++optim.new=1"], "unknown key 'optim.new'"),
        (["optim.lr=interval(0,1)"], "optim.lr=interval"),
        (["seed=range(0,1,0)"], "seed=range"),
        (["optim=interval(0,1)"], "optim=interval"),
        (["model.widths=extend_list(8)"], "write the whole list"),
        (["experiment=grid,smoke", "epochs=null"], "an experiment with axes of its own (init, optim, optim.lr, seed)"),
        (["experiment=null"], "experiment=null is not an option"),
        (["hydra.launcher.n_jobs=2"], "hydra.launcher.n_jobs is no setting of the launcher"),
        (["+hydra.launcher.n_jobs=2"], "OptbenchLauncher"),
    ],
    ids=lambda v: " ".join(v) if isinstance(v, list) else "",
)
def test_what_no_job_can_hold_is_refused_in_a_line(
    overrides: list[str], words: str, optbench: Callable, folder: Path
) -> None:
    refused = optbench("train", "-m", "max_steps=2", *overrides)
    assert refused.code == 2 and words in refused.err and "Traceback" not in refused.err
    assert list(folder.iterdir()) == []


# ---- a folder of one's own


def own_id(folder: Path, target: str) -> str:
    (folder / "mine" / "init").mkdir(parents=True, exist_ok=True)
    yaml = f"# Mine\n_option_: he_normal\n_target_: {target}\ngain: null\nbias: 0.0\n"
    (folder / "mine" / "init" / "he_normal.yaml").write_text(yaml)
    composer = Composer.over(str(folder / "mine"))
    return prepare(composer.compose(["init=he_normal"])).run_id


def test_an_option_of_ones_own_stands_in_for_a_shipped_one_and_is_not_taken_for_it(folder: Path, job: Callable) -> None:
    shipped = job("init=he_normal").run_id
    assert own_id(folder, "runner.init.he_normal") == shipped
    assert len({shipped, own_id(folder, "runner.init.xavier_normal"), own_id(folder, "runner.init.lecun_normal")}) == 3


def test_no_shipped_option_stands_in_for_another(composer: Composer) -> None:
    assert [standing_in(composer.compose(draw(Random(number))).config) for number in range(20)] == [{}] * 20


# ---- packages that are not installed


@pytest.mark.parametrize(("group", "name"), [(g, n) for g, found in compose.PACKAGES.items() for n in found])
def test_a_package_that_is_not_installed_is_named(
    group: str, name: str, composer: Composer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compose.hydra_door, "options", lambda loader, group: ["basic", "optbench"])
    with pytest.raises(ConfigError) as refused:
        composer.parse([f"{group}={name}"], sweep=True)
    assert f"{group}={name} comes in a package that is not installed: pip install hydra-" in str(refused.value)
    with pytest.raises(ConfigError, match=f"did you mean '{name}'"):
        composer.parse([f"{group}={name}s"], sweep=True)


def test_a_package_that_is_installed_is_used(composer: Composer) -> None:
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    assert composer.parse(["hydra/launcher=joblib"], sweep=True)[0].value == "joblib"


@pytest.mark.parametrize("number", range(30))
def test_plain_values_are_set_as_hydra_sets_them(number: int, folder: Path) -> None:
    """A grid over values passes Hydra's own function by, and must come to the same config, types and order included."""
    random = Random(31_000 + number)
    composer = Composer.over()
    drawn = draw(random)
    parsed = composer.parse(drawn)
    choices = composer._choices(parsed)
    values = [override for override in parsed if override.line not in choices]
    base = composer._base(choices)
    found = base.with_values(values)
    assert found is not None
    assert repr(found) == repr(hydra_door.plain(base.composition.applied(values)))
    assert base.with_values(values) is not found and base.resolved == hydra_door.plain(base.composition.config)


@pytest.mark.parametrize("line", ["model.args={a:1}", "+model.args.b=2", "name=${seed}", "metrics=['${name}']"])
def test_what_is_merged_added_or_refers_is_left_to_hydra(line: str) -> None:
    composer = Composer.over()
    base = composer._base(("model=custom",))
    assert base.with_values([composer._parser.parse(line)]) is None
