"""What an option's YAML says below ``_spec_``, a shipped one's and a user's own alike."""

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from runner.config import chosen, identity, options
from runner.config.compose import Composer
from runner.config.specs import Spec
from runner.errors import ConfigError

OWN = """\
# Signs of the gradient, as an optimizer of one's own
_option_: signs
_target_: tests.own_parts.signs
lr: 0.01                   # step size
sharpness: 2.0             # how hard the sign is
steps: 3                   # whole numbers
kind: hard                 # hard, soft
_spec_:
  settings:
    sharpness: {gt: 1, le: 8}
    steps: {ge: 1, le: 9}
    kind: {words: [hard, soft]}
  conflicts:
    - when: {regularization: grad_clip}
      says: "regularization=grad_clip beside optim=signs, whose steps have one size"
"""


@pytest.fixture
def own(folder: Path) -> Path:
    """A folder of YAMLs with one optimizer."""
    place = folder / "mine" / "optim" / "signs.yaml"
    place.parent.mkdir(parents=True)
    place.write_text(OWN, encoding="utf-8")
    return place


def test_a_users_own_option_runs_with_its_settings(own: Path, optbench: Callable) -> None:
    result = optbench("train", "-cd", "mine", "optim=signs", "optim.sharpness=4", "max_steps=2")
    assert result.code == 0, result.err
    assert "signs-lr0.01" in result.out


def test_a_users_own_option_that_gives_no_optimizer_is_refused(own: Path, optbench: Callable) -> None:
    own.write_text("# No optimizer\n_option_: signs\n_target_: tests.own_parts.nothing\nlr: 0.01\n", encoding="utf-8")
    result = optbench("train", "-cd", "mine", "optim=signs", "max_steps=2")
    assert result.code == 2 and "optim=signs must give a torch.optim.Optimizer, got str" in result.err
    assert not Path("outputs").exists()


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("optim.sharpness=9", "optim.sharpness must be a finite number > 1 and ≤ 8, got 9.0"),
        ("optim.sharpness=many", "optim.sharpness must be a finite number > 1 and ≤ 8, got 'many'"),
        ("optim.steps=2.5", "optim.steps must be a whole number ≥ 1 and ≤ 9, got 2.5"),
        ("optim.kind=hadr", "optim.kind must be one of hard, soft, got 'hadr'; did you mean 'hard'?"),
        ("optim.sharpnes=2", "did you mean 'optim.sharpness'?"),
        ("optim.lr=0", "optim.lr must be a finite number > 0"),
        ("regularization=grad_clip", "regularization=grad_clip beside optim=signs, whose steps have one size"),
    ],
)
def test_a_users_own_option_is_refused_in_the_words_of_a_shipped_one(
    override: str, said: str, own: Path, optbench: Callable, folder: Path
) -> None:
    result = optbench("train", "-cd", "mine", "optim=signs", override)
    assert result.code == 2
    assert said in result.err
    assert not (folder / "outputs").exists()


def test_a_misspelt_option_of_ones_own_is_answered(own: Path, optbench: Callable) -> None:
    result = optbench("train", "-cd", "mine", "optim=singns")
    assert result.code == 2
    assert "did you mean 'signs'?" in result.err


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"setings": {}}, "unknown key 'setings'; did you mean 'settings'?"),
        ({"settings": {"sharpnes": {"gt": 1}}}, "sharpnes is no setting; did you mean 'sharpness'?"),
        ({"settings": {"sharpness": {"above": 1}}}, "unknown key 'above'"),
        ({"settings": {"sharpness": {"gt": 5}}}, "sharpness must be a finite number > 5, got 2.0"),
        ({"facts": {"linear": True}}, "unknown key 'linear'; did you mean 'linear_in_lr'?"),
        ({"conflicts": [{"when": {"seed": 1}}]}, "when: {key: value} and says: message"),
        ({"conflicts": [{"when": {"seed": {"below": 1}}, "says": ""}]}, "unknown condition 'below'"),
    ],
)
def test_what_nobody_reads_in_a_spec_is_refused_by_its_file(
    spec: dict, said: str, own: Path, optbench: Callable
) -> None:
    content = yaml.safe_load(own.read_text(encoding="utf-8")) | {"_spec_": spec}
    own.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    result = optbench("train", "-cd", "mine", "optim=signs")
    assert result.code == 2
    assert said in result.err and "signs.yaml" in result.err


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ("{kind: {kind: txt}}", "settings.kind.kind must be one of flag, whole, number, text, import_path, arguments"),
        ("{kind: {kind: [text]}}", "settings.kind.kind must be one of flag, whole, number, text, import_path"),
        ("{steps: {ge: {a: 1}}}", "settings.steps.ge must be a number or another setting's name"),
        ("{steps: {ge: true}}", "settings.steps.ge must be a number or another setting's name, got true"),
        ("{steps: {gt: .nan}}", "settings.steps.gt must be a number or another setting's name"),
        ("{kind: {words: 3}}", "settings.kind.words must be a list, got 3"),
        ("{kind: {words: hard}}", "settings.kind.words must be a list, got 'hard'"),
        ("{steps: {length: two}}", "settings.steps.length must be a whole number, or any, got 'two'"),
        ("{steps: {le: stepz}}", "settings.steps.le must be a number or another setting's name, got 'stepz'; did you"),
        ("{steps: {gt: '0'}}", "settings.steps.gt must be a number or another setting's name, got '0'"),
        ("[steps]", "settings must be a set of key: value"),
        ("{3: {ge: 1}}", "settings.3 is no setting"),
        ("{}\n  reads: 3", "reads must be a list, got 3"),
        ("{}\n  conflicts: 3", "conflicts must be a list, got 3"),
        ("{}\n  candidate: 'no'", "candidate must be true or false, got 'no'"),
    ],
)
def test_what_is_said_of_a_setting_is_checked(settings: str, said: str, own: Path, optbench: Callable) -> None:
    text = OWN[: OWN.index("_spec_:")]
    own.write_text(f"{text}_spec_:\n  settings: {settings}\n", encoding="utf-8")
    result = optbench("train", "-cd", "mine", "optim=signs")
    assert result.code == 2 and said in result.err and "signs.yaml" in result.err, result.err
    assert "Traceback" not in result.err


def test_an_option_made_of_a_shipped_one_knows_what_that_knows(folder: Path) -> None:
    place = folder / "mine" / "optim" / "slow.yaml"
    place.parent.mkdir(parents=True)
    place.write_text("# AdamW, slower\n_option_: slow\n_target_: runner.optim.adamw\nlr: 1e-4\neps: 1e-6\n")
    spec = options.find("optim", "slow", folder / "mine").spec
    shipped = options.find("optim", "adamw").spec
    assert spec.facts == shipped.facts
    assert spec.settings["eps"].field == shipped.settings["eps"].field
    assert spec.settings["eps"].default == 1e-6


def test_an_option_by_defaults_takes_over_what_its_parent_says(folder: Path, optbench: Callable) -> None:
    place = folder / "mine" / "optim" / "quick.yaml"
    place.parent.mkdir(parents=True)
    place.write_text("# AdamW, quicker\ndefaults:\n  - adamw\nlr: 0.01\n")
    assert options.find("optim", "quick", folder / "mine").spec.settings["lr"].default == 0.01
    assert "optim.eps must be" in optbench("train", "-cd", "mine", "optim=quick", "optim.eps=-1").err


def test_a_yaml_that_changed_is_read_anew(own: Path) -> None:
    """From Python one process may train, see its YAML edited, and train again."""
    asked = ["optim=signs", "optim.sharpness=9"]
    with pytest.raises(ConfigError, match="≤ 8"):
        Composer.over("mine").compose(asked)
    own.write_text(own.read_text(encoding="utf-8").replace("le: 8", "le: 9"), encoding="utf-8")
    assert Composer.over("mine").compose(asked).config["optim"]["sharpness"] == 9


def test_bounds_may_be_other_settings(optbench: Callable) -> None:
    said = optbench("train", "augment=scale", "augment.scale.least=1.5").err
    assert "augment.scale.least must be ≤ augment.scale.most=1.2, got 1.5" in said


IDS = [
    [],
    ["optim=sgd", "optim.momentum=0.9"],
    ["init=he", "regularization=[l1,dropout]"],
    ["model=cnn", "batch=growing"],
    ["scheduler=cosine", "stop=steps"],
]


def test_a_setting_added_later_is_outside_the_id_while_it_has_its_default(
    monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    """Of every option of a group, and of every run, one more setting: all ids stay, and another value changes them."""
    composer = Composer.over()
    for overrides in IDS:
        composed = composer.compose(overrides)
        before = identity.run_id(composed.config, "data", {}, composed.known)
        later = chosen.Chosen(
            composed.known.specs, {**composed.known.settings, **{k: added() for k in ("optim.later", "later")}}
        )
        config = {**composed.config, "later": 7, "optim": {**composed.config["optim"], "later": 7}}
        assert identity.run_id(config, "data", {}, later) == before
        assert identity.run_id({**config, "later": 8}, "data", {}, later) != before
        other = {**config, "optim": {**config["optim"], "later": 8}}
        assert identity.run_id(other, "data", {}, later) != before


def added():
    """A setting as the YAML of a later version would add it."""
    return Spec.of({"later": 7, "_spec_": {"settings": {"later": {"id": "changed"}}}}, "optim=adamw").settings["later"]


def test_a_setting_added_to_the_shipped_yamls_leaves_every_frozen_id(folder: Path, tmp_path: Path) -> None:
    """The same through the files: a copy of the YAMLs with one more key in an option and one at the top."""
    import shutil
    import subprocess
    import sys

    copy = tmp_path / "package"
    shutil.copytree(Path(options.__file__).parents[1], copy / "runner", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(options.configs_dir(), copy / "runner" / "configs")
    main, adamw = copy / "runner/configs/config.yaml", copy / "runner/configs/optim/adamw.yaml"
    text = main.read_text(encoding="utf-8")
    text = text.replace("seed: 0 ", "later: 7                   # added later\nseed: 0 ", 1)
    main.write_text(text.replace("_spec_:\n  settings:\n", "_spec_:\n  settings:\n    later: {id: changed}\n"), "utf-8")
    text = adamw.read_text(encoding="utf-8")
    text = text.replace(
        "_spec_:\n  settings:\n", "later: 7  # added later\n_spec_:\n  settings:\n    later: {id: changed}\n"
    )
    adamw.write_text(text, encoding="utf-8")
    code = """
from runner.config.compose import Composer
from runner.config.identity import run_id
composer = Composer.over()
for overrides in ([], ["epochs=3"], ["later=8"], ["optim.later=8"]):
    composed = composer.compose(overrides)
    assert composed.config["later"] and composed.config["optim"]["later"]
    print(run_id(composed.config, "data", {}, composed.known))
"""
    found = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": str(copy)}, capture_output=True, text=True, check=True
    ).stdout.split()
    composer = Composer.over()
    ours = [composer.compose(overrides) for overrides in ([], ["epochs=3"])]
    assert found[:2] == [identity.run_id(c.config, "data", {}, c.known) for c in ours]
    assert len(set(found)) == 4


def test_specs_are_no_part_of_a_config(optbench: Callable) -> None:
    assert "_spec_" not in optbench("train", "--cfg", "job", "regularization=[l1,l2]").out


@pytest.mark.parametrize("group", options.groups())
def test_every_condition_names_keys_and_options_that_there_are(group: str) -> None:
    """A conflict whose key is misspelt would never hold."""
    known = set(options.of_every_run().spec.settings) | set(options.groups())
    known |= {f"{g}.{key}" for g in options.groups() for o in options.options(g) for key in o.settings}
    names = {g: {o.name for o in options.options(g)} for g in options.groups()}
    for option in options.options(group):
        for conflict in (*option.spec.conflicts, *option.spec.doubts):
            for key, wanted in conflict.when.items():
                assert key in known
                if key in names:
                    assert set(wanted if isinstance(wanted, list) else [wanted]) <= names[key]


def test_a_condition_with_an_unknown_key_is_an_error_in_the_file_of_ones_own() -> None:
    with pytest.raises(ConfigError, match="when"):
        Spec.of({"lr": 1.0, "_spec_": {"conflicts": [{"says": "x"}]}}, "mine.yaml")
