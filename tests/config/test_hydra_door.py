"""The contract with Hydra: what optbench relies on, version by version, and that nothing else knows Hydra's inside."""

import ast
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.config import hydra_door
from runner.config.hydra_door import Composition, ConfigLoader, Override, Parser
from runner.config.options import configs_dir
from runner.errors import ConfigError
from tests.support.composed import COMPOSED

ROOT = Path(__file__).parents[2]
PLUGIN_INTERFACE = {
    "hydra.core.config_store",
    "hydra.core.object_type",
    "hydra.core.plugins",
    "hydra.core.utils",
    "hydra.types",
}


@pytest.fixture
def loader() -> ConfigLoader:
    return hydra_door.start(configs_dir()).config_loader


@pytest.fixture
def parse(loader: ConfigLoader) -> Callable[..., list[Override]]:
    return lambda *lines: [Parser(loader).parse(line) for line in lines]


@pytest.fixture
def compose(loader: ConfigLoader) -> Callable[..., Composition]:
    return lambda *choices: COMPOSED(loader, choices, left_out="_spec_")


# ---- who knows Hydra


def hydra_modules(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names if name.name.partition(".")[0] == "hydra")
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "hydra":
            yield str(node.module)


@pytest.mark.parametrize("folder", ["runner", "optbench"])
def test_the_package_imports_hydra_through_its_door_alone(folder: str) -> None:
    knowing = {path.name for path in (ROOT / folder).rglob("*.py") if any(hydra_modules(path))}
    assert knowing <= {"hydra_door.py"}


@pytest.mark.parametrize("folder", ["hydra_plugins", "scripts", "tests"])
def test_nothing_else_imports_hydras_inside(folder: str) -> None:
    found = {m for path in (ROOT / folder).rglob("*.py") for m in hydra_modules(path)}
    assert not [m for m in found if m.startswith("hydra._internal")]


def test_the_plugin_uses_the_interface_for_plugins() -> None:
    modules = set(hydra_modules(ROOT / "hydra_plugins" / "optbench.py"))
    assert {m for m in modules if not m.startswith("hydra.plugins.")} <= PLUGIN_INTERFACE


# ---- parsing


@pytest.mark.parametrize(
    ("line", "key", "sign", "value"),
    [
        ("optim.lr=1e-3", "optim.lr", "", 0.001),
        ("optim.lr=1", "optim.lr", "", 1),
        ("a.b=true", "a.b", "", True),
        ("a=null", "a", "", None),
        ("a=text", "a", "", "text"),
        ("a='x, y: z'", "a", "", "x, y: z"),
        ("a=[1,x,null]", "a", "", [1, "x", None]),
        ("a={b: 1, c: {d: [2]}}", "a", "", {"b": 1, "c": {"d": [2]}}),
        ("a=${b}", "a", "", "${b}"),
        ("a=", "a", "", ""),
        ("+a.b=1", "a.b", "+", 1),
        ("++a.b=1", "a.b", "++", 1),
        ("~a.b", "a.b", "~", None),
        ("a=str(1)", "a", "", "1"),
    ],
)
def test_a_value_is_read_in_its_own_type(line: str, key: str, sign: str, value: object, parse: Callable) -> None:
    (found,) = parse(line)
    assert (found.line, found.key, found.sign, found.value) == (line, key, sign, value)
    assert type(found.value) is type(value)
    assert not found.sweeps and not found.discrete and not found.of_hydra
    assert list(found.values()) == [value]


@pytest.mark.parametrize(
    ("line", "values"),
    [
        ("seed=0,1", [0, 1]),
        ("seed=choice(3)", [3]),
        ("seed=range(0,3)", [0, 1, 2]),
        ("optim=glob(ada*)", ["adabelief", "adadelta", "adafactor", "adagrad", "adam", "adamax", "adamw", "adan"]),
        ("regularization=none,[l1,dropout]", ["none", ["l1", "dropout"]]),
        ("optim=glob(nothing*)", []),
    ],
)
def test_a_sweep_counts_its_values_out(line: str, values: list[object], parse: Callable) -> None:
    (found,) = parse(line)
    assert found.sweeps and found.discrete and found.value is None
    assert list(found.values()) == values


def test_an_interval_is_a_sweep_without_a_list_of_values(parse: Callable) -> None:
    (found,) = parse("optim.lr=interval(0,1)")
    assert found.sweeps and not found.discrete
    with pytest.raises(ConfigError, match="interval"):
        list(found.values())


def test_a_range_without_a_step_is_refused(parse: Callable) -> None:
    with pytest.raises(ConfigError, match=r"seed=range\(0,1,0\) is no list of values"):
        list(parse("seed=range(0,1,0)")[0].values())


@pytest.mark.parametrize("line", ["hydra.launcher.n_jobs=2", "hydra/launcher=basic", "hydra.sweeper.params={seed: 1}"])
def test_hydras_own_keys_are_known_as_such(line: str, parse: Callable) -> None:
    assert parse(line)[0].of_hydra


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("name", "missing EQUAL"),
        ("name=a=b}", "mismatched input '='"),
        ("optim.lr=(", "extraneous input '('"),
        ("optim.lr=foo(1)", "Unknown function 'foo'"),
        ("model.widths=extend_list(8)", "write the whole list"),
    ],
)
def test_a_syntax_error_is_one_line_that_says_where(line: str, words: str, parse: Callable) -> None:
    with pytest.raises(ConfigError) as refused:
        parse(line)
    said = str(refused.value)
    assert words in said and "\n" not in said and "parsing index" not in said and "See https" not in said


# ---- writing

TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\r"), max_size=12)
ODD = st.sampled_from(
    [
        "1",
        "1e3",
        "007",
        "null",
        "True",
        "nan",
        "inf",
        "it's",
        'a "b"',
        "a\\",
        "a\\'",
        "\\${x}",
        "${x}",
        "${",
        "a: b",
        "[1]",
        "{}",
    ]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS | ODD,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.from_regex(r"[a-z_]{1,5}", fullmatch=True), inner),
    max_leaves=6,
)


@pytest.fixture(scope="module")
def opened() -> tuple[Parser, Composition]:
    loader = hydra_door.start(configs_dir()).config_loader
    found = COMPOSED(loader, ["optim=custom"], left_out="_spec_")
    found.open("optim.args")
    return Parser(loader), found


@given(value=VALUES)
@settings(max_examples=300)
def test_a_value_that_is_written_reads_and_resolves_to_itself(
    value: object, opened: tuple[Parser, Composition]
) -> None:
    parser, composition = opened
    override = parser.parse(f"optim.args.x={hydra_door.written(value)}")
    found = hydra_door.plain(composition.applied([override]))["optim"]["args"]["x"]
    assert found == value and repr(found) == repr(value)


@pytest.mark.parametrize("text", ["adam", "/data/x_1.csv", "tests.own_parts.Net", "a-b+c@d%e"])
def test_a_plain_text_is_written_without_quotes(text: str) -> None:
    assert hydra_door.written(text) == text


# ---- splitting


def test_the_first_axis_is_the_slowest_and_keys_stay_in_order(parse: Callable) -> None:
    assert hydra_door.split(parse("seed=0,1", "epochs=3", "optim.lr=0.1,0.2")) == [
        ["seed=0", "epochs=3", "optim.lr=0.1"],
        ["seed=0", "epochs=3", "optim.lr=0.2"],
        ["seed=1", "epochs=3", "optim.lr=0.1"],
        ["seed=1", "epochs=3", "optim.lr=0.2"],
    ]


def test_splitting_keeps_signs_and_single_values_as_given(parse: Callable) -> None:
    jobs = hydra_door.split(parse("+a.b=1,2", "++c=1e-3", "d='x'"))
    assert jobs == [["+a.b=1", "++c=1e-3", "d='x'"], ["+a.b=2", "++c=1e-3", "d='x'"]]


@pytest.mark.parametrize(
    "value",
    [
        *("1e-3", "1e-10", "-0.0", "1e300", "true", "null", "text", "'1'", "'null'", "'a, b'", "'it\\'s'", '"a: b"'),
        *("[1,2]", "['a, b',c]", "{a: 1, b: {c: [x, null]}}", "{a: 'x: y'}", "${optim.lr}", "a\\,b", "C:/x", "'\\\\'"),
        *("str(1)", "int('3')", "sort([3,1])", "x y"),
    ],
)
def test_a_value_in_an_axis_reads_as_it_does_alone(value: str, parse: Callable) -> None:
    (single,) = parse(f"a={value}")
    ((alone,),) = hydra_door.split([single])
    axis = [job[0] for job in hydra_door.split(parse(f"{single.line},{value}"))] if "(" not in value else []
    for line in (alone, *axis):
        (again,) = parse(line)
        assert again.key == single.key
        assert again.value == single.value and type(again.value) is type(single.value) and not again.sweeps


def test_an_interval_is_not_split(parse: Callable) -> None:
    with pytest.raises(ConfigError, match=r"optim.lr=interval\(0,1\)"):
        hydra_door.split(parse("seed=0,1", "optim.lr=interval(0,1)"))


# ---- composing


def test_a_list_choice_merges_its_options_and_is_recorded_as_none(compose: Callable) -> None:
    found = compose("regularization=[l1,dropout]")
    assert found.hydra.runtime.choices.get("regularization") is None
    assert list(found.config.regularization) == ["l1", "dropout"]
    assert found.hydra.runtime.choices["optim"] == "adamw"


@pytest.mark.parametrize(
    "choices", [["regularization=[l1,l1]"], ["optim=sgd", "optim=adam"], ["~optim"], ["regularization=[none,l1]"]]
)
def test_what_makes_no_sense_goes_through_hydra_so_that_it_must_be_refused_before(
    choices: list[str], compose: Callable
) -> None:
    found = compose(*choices)
    if choices[-1] == "optim=adam":
        assert found.config.optim._option_ == "adam"
    if choices == ["~optim"]:
        assert "_option_" not in found.config.optim
    if "regularization" in choices[0]:
        assert list(found.config.regularization) == ["l1"]


def test_hydras_own_part_is_apart(compose: Callable) -> None:
    found = compose("experiment=grid")
    assert "hydra" not in found.config
    assert found.config.name == "grid"  # of a file in the package _global_
    assert list(found.hydra.sweeper.params) == ["init", "optim", "optim.lr", "seed"]
    assert found.hydra.runtime.choices["hydra/launcher"] == "optbench"
    assert found.hydra.launcher._target_ == "hydra_plugins.optbench.OptbenchLauncher"
    assert found.hydra.sweeper._target_ == "hydra_plugins.optbench.OptbenchSweeper"


def test_plugins_are_found_in_the_namespace(loader: ConfigLoader) -> None:
    assert {"optbench", "basic"} <= set(hydra_door.options(loader, "hydra/launcher"))
    assert {"optbench", "basic"} <= set(hydra_door.options(loader, "hydra/sweeper"))
    assert {"sgd", "adam"} <= set(hydra_door.options(loader, "optim"))
    assert hydra_door.options(loader, "nothing") == []


def test_a_users_folder_goes_before_the_shipped_one(tmp_path: Path) -> None:
    (tmp_path / "optim").mkdir()
    (tmp_path / "optim" / "adam.yaml").write_text("_option_: adam\n_target_: runner.optim.adam\nlr: 0.7\n")
    (tmp_path / "optim" / "mine.yaml").write_text("_option_: mine\n_target_: runner.optim.adam\nlr: 0.8\n")
    loader = hydra_door.start(configs_dir(), tmp_path).config_loader
    assert COMPOSED(loader, ["optim=adam"], left_out="_spec_").config.optim.lr == 0.7
    assert COMPOSED(loader, ["optim=mine"], left_out="_spec_").config.optim.lr == 0.8
    assert COMPOSED(loader, ["optim=sgd"], left_out="_spec_").config.optim._option_ == "sgd"
    assert {"mine", "adam", "sgd"} <= set(hydra_door.options(loader, "optim"))
    assert hydra_door.start(configs_dir()).config_loader is not loader  # one after another in a process


@pytest.mark.parametrize(
    "content",
    [
        "lr: [1",
        "- 1\n- 2\n",
        "lr: 1\nlr: 2\n",
        "lr: ${",
        "defaults:\n  - nowhere\nlr: 1\n",
        "defaults:\n  - sgd\n  - _self_\n  - 3\n",
        "# @package a b\nlr: 1\n",
        "lr: !!python/object/apply:os.getcwd []\n",
        "? [a, b]\n: 1\n",
        "betas: \x00\n",
    ],
)
def test_a_broken_file_is_a_reason_and_no_traceback(content: str, tmp_path: Path) -> None:
    (tmp_path / "optim").mkdir()
    (tmp_path / "optim" / "mine.yaml").write_text(content)
    loader = hydra_door.start(configs_dir(), tmp_path).config_loader
    with pytest.raises(ConfigError) as refused:
        COMPOSED(loader, ["optim=mine"], left_out="_spec_")
    assert str(refused.value) and "\n" not in str(refused.value)


def test_an_option_that_is_not_there_is_a_reason(compose: Callable) -> None:
    with pytest.raises(ConfigError, match="Could not find 'optim/nonsense'"):
        compose("optim=nonsense")


def test_a_sweep_does_not_compose(compose: Callable) -> None:
    with pytest.raises(ConfigError, match="optim=sgd,adam"):
        compose("optim=sgd,adam")


# ---- values


def test_a_new_key_is_refused_where_nothing_was_opened(compose: Callable, parse: Callable) -> None:
    found = compose("optim=custom")
    for line in ("optim.nonsense=1", "optim.args.momentum=0.9", "optim.args={momentum: 0.9}"):
        with pytest.raises(ConfigError, match="Could not override 'optim"):
            found.applied(parse(line))


def test_an_opened_key_takes_what_is_set_below_it_and_nothing_else_does(compose: Callable, parse: Callable) -> None:
    found = compose("optim=custom")
    found.open("optim.args")
    given = ["optim.args.momentum=0.9", "optim.args.deep.er=1", "optim.args={momentum: 0.8, more: 2}", "optim.lr=3"]
    config = hydra_door.plain(found.applied(parse(*given)), resolve=False)
    assert config["optim"]["args"] == {"momentum": 0.8, "deep": {"er": 1}, "more": 2}  # {} is merged, in order
    assert hydra_door.plain(found.config, resolve=False)["optim"]["args"] == {}  # a copy was set
    assert found.applied(parse("+optim.args.x=1")).optim.args.x == 1
    with pytest.raises(ConfigError, match="Could not override"):
        found.applied(parse("optim.nonsense=1"))


def test_a_plus_adds_and_two_add_or_change(compose: Callable, parse: Callable) -> None:
    found = compose()
    with pytest.raises(ConfigError, match=r"already at 'optim.lr'. Either remove \+ prefix: 'optim.lr=1'"):
        found.applied(parse("+optim.lr=1"))
    assert found.applied(parse("++optim.lr=1")).optim.lr == 1
    assert found.applied(parse("+optim.new=1", "++optim.newer=2")).optim.newer == 2


def test_a_list_replaces_a_list_and_any_type_goes_through(compose: Callable, parse: Callable) -> None:
    optim = compose().applied(parse("optim.betas=[0.5]", "optim.lr=text")).optim
    assert (list(optim.betas), optim.lr) == ([0.5], "text")


def test_references_are_resolved_at_the_end(compose: Callable, parse: Callable) -> None:
    config = compose().applied(parse("batch.size=${model.width}", "model.width=${seed}", "seed=7"))
    assert hydra_door.plain(config)["batch"]["size"] == 7
    with pytest.raises(ConfigError, match="nowhere"):
        hydra_door.plain(compose().applied(parse("batch.size=${nowhere}")))
