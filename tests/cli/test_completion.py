"""Tab completion knows every command, every argument of it, and the overrides."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import runner
from runner.cli.commands import COMMANDS
from runner.cli.completion import SCRIPTS, complete
from runner.cli.typed import FILES, FOLDERS
from runner.config.options import groups, options

MINE = """\
# Mine
_option_: mine
_target_: runner.optim.sgd
lr: 0.1  # step size
momentum: 0.0  # none
zeta: 1.0  # my own
"""


@pytest.fixture
def mine(folder: Path) -> str:
    """A folder with an optimizer of one's own."""
    (folder / "mine" / "optim").mkdir(parents=True)
    (folder / "mine" / "optim" / "mine.yaml").write_text(MINE)
    return "mine"


def test_the_first_word_is_a_command() -> None:
    assert complete([""])[: len(COMMANDS)] == list(COMMANDS)
    for name in COMMANDS:
        assert name in complete([name[:2]])


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_is_offered_every_flag_and_argument_of_its_help(name: str) -> None:
    text = COMMANDS[name].parser().format_help()
    flags = set(re.findall(r"(?<![\w-])--?[a-z][\w-]*", text.partition("options:")[2].partition("groups and")[0]))
    assert set(complete([name, "-"])) >= {f for f in flags if f.startswith("--")} >= {"--help"}
    for argument in COMMANDS[name].parser().arguments:
        line = [name, *argument.flags[-1:], ""]
        if argument.takes_value and argument.words:
            assert complete(line), line


@pytest.mark.parametrize("name", COMMANDS)
def test_words_that_completion_offers_for_a_flag_are_taken(name: str) -> None:
    for argument in COMMANDS[name].parser().arguments:
        if argument.flags and isinstance(argument.words, tuple):
            for word in set(argument.words) - {*FILES, *FOLDERS}:
                parsed = COMMANDS[name].parser().parse_known_args([argument.flags[-1], word, "x"])[0]
                assert getattr(parsed, argument.key) == word


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["tr"], "train"),
        (["list", "ini"], "init"),
        (["train", "ini"], "init="),
        (["train", "init=he"], "init=he_uniform"),
        (["train", "init=he,xav"], "init=he,xavier"),
        (["train", "optim=sgd", "optim.mom"], "optim.momentum="),
        (["train", "optim.l"], "optim.lr="),
        (["train", "see"], "seed="),
        (["train", "-m", "seed"], "seeds="),
        (["train", "targ"], "target.metric="),
        (["train", "regularization=dropout", "regularization.dr"], "regularization.dropout.p="),
        (["train", "augment=cr"], "augment=crop"),
        (["train", "augment=[crop,flip]", "augment.f"], "augment.flip.p="),
        (["train", "augment=[crop,fl"], "augment=[crop,flip]"),
        (["train", "augment=[cr"], "augment=[crop,"),
        (["train", "metrics=[f"], "metrics=[f1]"),
        (["train", "amp="], "amp=bf16"),
        (["train", "compile="], "compile=true"),
        (["train", "data=csv", "data.path=x"], ":files"),
        (["train", "--conf"], "--config-dir"),
        (["train", "--cfg", ""], "job"),
        (["train", "--config-dir", ""], ":folders"),
        (["lr-range", "--steps", "50", "optim=ada"], "optim=adam"),
        (["lr-range", "--pl"], "--plot"),
        (["schedule", "scheduler=cos"], "scheduler=cosine"),
        (["schedule", "--plot", "a"], ":files"),
        (["report", "out"], ":folders"),
        (["report", "outputs/default", "--metric", "val_a"], "val_accuracy"),
        (["report", "outputs/default", "--axes", "init,opt"], "init,optim"),
        (["report", "--better=h"], "--better=higher"),
        (["auto", "tab"], ":files"),
        (["auto", "table.csv", "--bud"], "--budget"),
        (["auto", "table.csv", "optim=ada"], "optim=adam"),
        (["tune", "--journal", ""], ":files"),
        (["tune", "--wat"], "--watch"),
        (["tune", "--sampler", "t"], "tpe"),
        (["runs", ""], ":folders"),
        (["predict", "outputs/default/x", "--part", "t"], "train"),
        (["predict", "outputs/default/x", "--quantize", "s"], "static"),
        (["train", "finetune=lora", "finetune.lora.r"], "finetune.lora.rank="),
        (["train", "compress=[low_rank,qua"], "compress=[low_rank,quantize]"),
        (["compress", "outputs/default", "prune_s"], "prune_structured"),
        (["compress", "outputs/default", "prune", "prune_structured+st"], "prune_structured+static"),
        (["compress", "out"], ":folders"),
        (["predict", "outputs/default/x", "--allow", "a.B", "--al"], "--allow"),
        (["study", "depth"], "depth-30"),
        (["study", "--class", ""], "ordering"),
        (["completion", "z"], "zsh"),
        (["ensemble", ""], ":folders"),
        (["ensemble", "outputs/default", "--method", "g"], "greedy"),
        (["boost", "5", "--method", "s"], "samme"),
        (["boost", "5", "model.wid"], "model.width="),
        (["doctor", "-"], "--help"),
    ],
    ids=lambda v: " ".join(v) if isinstance(v, list) else v,
)
def test_completion_offers_what_fits(words: list[str], expected: str) -> None:
    assert expected in complete(words)


@pytest.mark.parametrize(
    "words",
    [
        ["nonsense", ""],
        ["train", "optim=nonsense"],
        ["train", "--config-dir", "mine", "--config-d"],
        ["train", "seed=1", "seed"[:4]],
        ["train", "regularization=[l1,l1"],
        ["list", "optim", "i"],
        ["runs", "one", ""],
        ["study", "depth-30", "depth-30"],
    ],
    ids=" ".join,
)
def test_completion_offers_nothing_that_would_be_refused(words: list[str]) -> None:
    assert [w for w in complete(words) if w != "seeds="] == []


def test_a_folder_of_ones_own_is_completed_too(mine: str) -> None:
    for command in ("train", "lr-range", "schedule"):
        assert complete([command, "--config-dir", mine, "optim=mi"]) == ["optim=mine"]
        assert complete([command, f"--config-dir={mine}", "optim=mine", "optim.z"]) == ["optim.zeta="]
        assert complete([command, "optim=mi"]) == []
    assert complete(["train", "--config-dir", "not/there/yet", "optim=sg"]) == ["optim=sgd"]


def test_list_and_help_show_the_options_of_ones_own_folder(mine: str, optbench: Callable) -> None:
    shown = optbench("list", "--config-dir", mine, "optim").out
    assert "\nmine               Mine\n" in shown
    assert "zeta: 1.0" in shown and "my own" in shown
    assert len(shown.splitlines()) == len(optbench("list", "optim").out.splitlines()) + 4
    assert "\n  mine               Mine\n" in optbench("list", "--config-dir", mine).out
    assert ", mine," in optbench("train", "--help", "--config-dir", mine).out
    assert ", mine," not in optbench("train", "--help").out


@pytest.mark.parametrize("argv", [["list"], ["train", "--help"]], ids=" ".join)
def test_list_and_help_refuse_a_folder_as_train_does(argv: list[str], optbench: Callable, folder: Path) -> None:
    (folder / "config.yaml").write_text("seed: 1\n")
    for config_dir in ("nowhere", "."):
        refused = optbench(*argv, "--config-dir", config_dir)
        assert refused.code == 2
        assert refused.err == optbench("train", "max_steps=1", "--config-dir", config_dir).err
        assert refused.out == ""


def test_every_shell_has_a_script(optbench: Callable) -> None:
    for shell in ("bash", "zsh", "fish"):
        assert "optbench completion query --" in optbench("completion", shell).out
    assert set(SCRIPTS) == {"bash", "zsh", "fish"}
    assert optbench("completion", "query", "--", "train", "optim=ada").out.split() == [
        f"optim={o.name}" for o in options("optim") if o.name.startswith("ada")
    ]


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("optbench train optim=adam", ["adam", "adamax", "adamw"]),
        ("optbench ru", ["runs"]),
        ("optbench list ", groups()),
        ("optbench train 'regularization=[l1,dro", ["regularization=[l1,dropout]", "regularization=[l1,dropout,"]),
        ("optbench train optim=nonsense", []),
        ("optbench predict out", []),
    ],
)
def test_completion_works_in_bash(line: str, offered: list[str], folder: Path) -> None:
    script = 'eval "$(optbench completion bash)"; compopt() { :; }; '  # which is of the interactive shell alone
    script += (
        'COMP_LINE="$1"; COMP_POINT=${#COMP_LINE}; COMP_WORDBREAKS="="; _optbench; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    environment = {
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
        "PYTHONPATH": str(Path(runner.__file__).parents[1]),
    }
    command = ["bash", "-c", script, "bash", line]
    found = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    assert found.stdout.split() == offered
    assert found.stderr == ""


def test_completion_stays_clear_of_what_is_slow(folder: Path) -> None:
    code = (
        "import sys; from runner.cli.main import main\n"
        "for name in sys.argv[1:]:\n"
        "    for word in ('-', ''):\n"
        "        assert main(['completion', 'query', '--', name, word]) == 0\n"
        "        slow = {'torch', 'hydra', 'pandas', 'numpy', 'sklearn'} & set(sys.modules)\n"
        "        assert not slow, (name, word, slow)\n"
    )
    found = subprocess.run([sys.executable, "-c", code, *COMMANDS], capture_output=True, text=True, check=False)
    assert (found.returncode, found.stderr) == (0, "")
