"""The command line: subcommands, exit codes, and everything that is printed. Imports nothing heavy at its top."""

import argparse
import csv
import math
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from runner import __version__
from runner.__main__ import INTERRUPTED, entrypoint  # noqa: F401  # a script installed before looks for it here
from runner.config.options import configs_dir, groups, options
from runner.errors import ConfigError, OptbenchError, closest

if TYPE_CHECKING:
    from runner.run.job import Job
    from runner.run.life import Outcome

TROUBLE = ("failed", "interrupted", "diverged")

USAGE = """\
usage: optbench COMMAND …

Which initializer, optimizer, learning rate, schedule, regularization and batch size should I use
for this model on this data, and how sure can I be?

commands:
  train [overrides]     one run, such as  optbench train init=he optim=adamw
  train -m [overrides]  the grid, such as  optbench train -m init=he,xavier optim=sgd,adamw optim.lr=1e-3,1e-2
  list [group]          every option of every group, or of one, and what it means
  report DIR            the answer: what to use, how sure, tables and plots, DIR/report.html
  study [NAME…|all]     reproduce published findings, and say whether they hold; without a name, list them
  lr-range [overrides]  Smith's range test: learning rates worth a sweep, as a command
  schedule [overrides]  the learning rate of every step, as CSV, without training
  runs DIR              write DIR/runs.csv anew from the folders of its runs
  predict RUN           what a trained run predicts, as CSV; --export FILE writes it as a program
  doctor                what this machine offers, and what is wrong with it
  completion SHELL      a script for tab completion: bash, zsh or fish

options:
  -h, --help            this text; after a command, that command's
  --version             the version

exit codes: 0 fine (a diverged run is a result), 1 some run failed, 2 bad input, 130 interrupted
"""

TRAIN_EXAMPLES = """\
examples:
  optbench train init=he optim=adamw
  optbench train data=mnist data.root=FOLDER model=cnn optim=nesterov optim.lr=0.03 scheduler=cosine epochs=5
  optbench train 'regularization=[dropout,early_stopping]' regularization.dropout.p=0.2
  optbench train -m init=he,xavier optim=sgd,adamw optim.lr=1e-3,1e-2 seed=0,1,2
  optbench train experiment=smoke
"""


def main(argv: Sequence[str]) -> int:
    """Run one command and return its exit code."""
    commands = {
        "train": train,
        "list": list_options,
        "report": report,
        "study": study,
        "lr-range": lr_range,
        "schedule": schedule,
        "runs": runs,
        "predict": predict,
        "doctor": doctor,
        "completion": completion,
    }
    command = argv[0] if argv else "--help"
    try:
        if command in ("-h", "--help", "help"):
            print(USAGE, end="")
            return 0
        if command == "--version":
            print(f"optbench {__version__}")
            return 0
        if command not in commands:
            hint = "; did you mean 'train'?" if "=" in command else closest(command, commands)
            raise ConfigError(f"{command!r} is not a command{hint}\nvalid: {', '.join(commands)}")
        return commands[command](list(argv[1:]))
    except OptbenchError as error:
        print(f"optbench: {error}", file=sys.stderr)
        return error.exit_code


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message}; see {self.prog} --help")


def train(argv: list[str]) -> int:
    """``optbench train``: one run, or with ``-m`` every run of a grid."""
    parser = _Parser("optbench train", add_help=False, allow_abbrev=False)
    parser.add_argument("-h", "--help", action="store_true")
    parser.add_argument("-m", "--multirun", action="store_true", help="run every combination of values with commas")
    parser.add_argument(
        "-cd", "--config-dir", metavar="DIR", help="a folder of YAMLs of your own, such as DIR/optim/mine.yaml"
    )
    parser.add_argument("-c", "--cfg", type=_one_of("job"), help="print the config that would be run, and stop")
    parser.add_argument("overrides", nargs="*", help="group=option and key=value")
    arguments = parser.parse_intermixed_args(argv)
    if arguments.help:
        print(_train_help(), end="")
        return 0
    _find_parts_in_current_folder()
    from runner.config.compose import Composer, start_hydra

    hydra = start_hydra(arguments.config_dir)
    if arguments.cfg:
        import yaml

        composed = Composer(hydra.config_loader).compose(arguments.overrides)
        print(yaml.safe_dump(composed.config, sort_keys=False, allow_unicode=True), end="")
        return 0
    return (
        _grid(hydra, arguments.overrides)
        if arguments.multirun
        else _single(hydra, arguments.overrides, arguments.config_dir)
    )


def _single(hydra: Any, overrides: list[str], config_dir: str | None) -> int:
    from runner.cli import present
    from runner.config.compose import Composer
    from runner.run.job import prepare
    from runner.run.life import run_job

    if any(o == "+" or o.startswith("seeds=") for o in overrides):
        raise ConfigError("seeds=… and a lone + make sweeps: add -m")
    composed = Composer(hydra.config_loader).compose(overrides)
    for key in ("workers", "fail_fast"):
        if composed.config[key]:
            raise ConfigError(f"{key}={composed.config[key]} is for sweeps: add -m, or leave it out")
    if axes := composed.hydra.sweeper.get("params") or composed.hydra.sweeper.get("unions"):
        raise ConfigError(f"this experiment is a sweep over {', '.join(map(str, axes))}: add -m")
    job = prepare(composed)
    report_doubts([job])
    if composed.config["dry_run"]:
        from runner.sweep.plan import describe

        print(describe([job], 1), end="")
        return 0
    outcome = run_job(job)
    assert outcome is not None, "it waits where another process trains the run"
    status = outcome.summary["status"]
    print(present.result(outcome, config_dir), end="")
    if status == "failed":
        said = "" if outcome.trained else " before (retry=failed tries again)"
        where = f", see {outcome.summary['traceback']}"
        print(f"optbench: the run failed{said}: {outcome.summary['stop_reason']}{where}", file=sys.stderr)
        return 1
    if status == "interrupted":
        print("optbench: interrupted; the same command goes on from here", file=sys.stderr)
        return INTERRUPTED
    return 0


def _grid(hydra: Any, overrides: list[str]) -> int:
    from runner.cli import present
    from runner.run.life import Outcome
    from runner.sweep.plan import launch
    from runner.sweep.workers import NOT_STARTED, RunFailed

    try:
        outcomes = launch(hydra, overrides)
    except RunFailed as error:
        raise OptbenchError(str(error)) from error
    if isinstance(outcomes, str):
        print(outcomes, end="")
        return 0
    if not isinstance(outcomes, list) or not all(isinstance(outcome, Outcome) for outcome in outcomes):
        return 0  # another sweeper, which reports by itself
    print(present.grid_table(outcomes), end="")
    waiting = [o for o in outcomes if o.summary.get("stop_reason") == NOT_STARTED]
    if waiting:
        print(f"optbench: {len(waiting)} of {len(outcomes)} runs were not started", file=sys.stderr)
    troubled = [o for o in outcomes if o.summary["status"] in TROUBLE and o not in waiting]
    for outcome in troubled:
        summary = outcome.summary
        where = f", see {summary['traceback']}" if "traceback" in summary else ""
        print(f"optbench: {summary['status']}: {outcome.job}: {summary.get('stop_reason')}{where}", file=sys.stderr)
    statuses = {o.summary["status"] for o in troubled if o.summary.get("stop_reason") != "interrupted"}
    if any(o.summary.get("stop_reason") == "interrupted" for o in troubled) or (waiting and not troubled):
        print("optbench: interrupted; the same command goes on from here", file=sys.stderr)
        return INTERRUPTED
    return 1 if statuses & {"failed", "interrupted"} else 0


def report_doubts(jobs: "Sequence[Job]") -> None:
    """Say on stderr, each once, what of some jobs is seldom meant."""
    from runner.config.schema import doubts

    for doubt in dict.fromkeys(doubt for job in jobs for doubt in doubts(job.config)):
        print(f"optbench: {doubt}", file=sys.stderr)


def report_outcome(outcome: "Outcome") -> None:
    """Say on stderr what became of one job of a sweep."""
    from tqdm import tqdm

    from runner.cli import present

    summary = outcome.summary
    said = [summary["status"] if outcome.trained else f"{summary['status']} before"]
    said += [f"{name} {summary[name]:.4g}" for name in present.measures(summary) if "test" in name]
    said += [str(summary["stop_reason"])] if summary["status"] == "failed" else []
    tqdm.write(f"{outcome.job.folder.name}: {', '.join(said)}", file=sys.stderr)  # above the bar


def _train_help() -> str:
    lines = ["usage: optbench train [-m] [--config-dir DIR] [--cfg job] [group=option …] [key=value …]", ""]
    lines += ["  -m, --multirun        run every combination of the values given with commas"]
    lines += ["  -cd, --config-dir DIR  a folder of YAMLs of your own, such as DIR/optim/mine.yaml"]
    lines += ["  -c, --cfg job         print the config that would be run, and stop", "", "groups and their options:"]
    for group in groups():
        lines.append(f"  {group:<15} {', '.join(option.name for option in options(group))}")
    lines += ["", "keys of every run, with their defaults (those of an option: optbench list GROUP):"]
    lines += [f"  {text:<22} {comment}" for text, comment in _top_level_keys()]
    return "\n".join(lines) + f"\n\n{TRAIN_EXAMPLES}"


def _top_level_keys() -> list[tuple[str, str]]:
    from runner.config.options import read_option, shared
    from runner.config.schema import SECTIONS

    text = (configs_dir() / "config.yaml").read_text(encoding="utf-8")
    top = {line.partition(":")[0] for line in text.splitlines() if line[:1].isalpha()}
    found = [s for s in read_option(configs_dir() / "config.yaml").settings if s[0].partition(":")[0] in top]
    return [*found, *((f"{section}.{text}", comment) for section in SECTIONS for text, comment in shared(section))]


def list_options(argv: list[str]) -> int:
    """``optbench list [group]``: an option a line, its name first; of one group, its settings below."""
    parser = _Parser("optbench list", description="Every option of every group, or of one group with its settings.")
    parser.add_argument("group", nargs="?", help=", ".join(groups()))
    group = parser.parse_args(argv).group
    if group is not None and group not in groups():
        raise ConfigError(f"{group!r} is not a group{closest(group, groups())}\nvalid: {', '.join(groups())}")
    for name in [group] if group else groups():
        if not group:
            print(f"{name}:")
        for option in options(name):
            print(f"{'' if group else '  '}{option.name:<18} {option.meaning}")
            if group:
                for text, comment in option.settings:
                    print(f"    {text:<22} {comment}")
    return 0


def report(argv: list[str]) -> int:
    """``optbench report DIR``: the answer on stdout, ``DIR/report.html`` and ``DIR/report/``."""
    about = "The answer that runs give: on the terminal, in DIR/report.html, its plots and tables in DIR/report/."
    parser = _Parser("optbench report", description=about)
    parser.add_argument("folder", metavar="DIR", help="the folder of a sweep, such as outputs/default, or of a run")
    parser.add_argument(
        "--metric", metavar="NAME", help="what to judge by, such as val_loss (default: accuracy, r2, loss)"
    )
    better = _one_of("higher", "lower")
    parser.add_argument("--better", type=better, metavar="WAY", help="of a measure of your own: higher, lower")
    parser.add_argument("--target", type=_finite_number, metavar="VALUE", help="time to this value of the metric")
    parser.add_argument("--axes", metavar="ROWS,COLUMNS", help="two axes of the heat map, such as init,optim")
    parser.add_argument(
        "--within",
        type=_finite_number,
        default=1.0,
        metavar="PERCENT",
        help="what counts as near the best (default: 1)",
    )
    parser.add_argument("-cd", "--config-dir", metavar="DIR", help="your own YAMLs, where the runs were made with some")
    arguments = parser.parse_args(argv)
    axes = tuple(arguments.axes.split(",")) if arguments.axes else None
    if axes is not None and len(axes) != 2:
        raise ConfigError(f"--axes takes two axes, such as init,optim, got {arguments.axes!r}")
    if not 0 < arguments.within < 100:
        raise ConfigError(f"--within must be > 0 and < 100, in percent of the best, got {arguments.within:g}")
    from runner.report.write import Asked, report

    asked = Asked(arguments.metric, arguments.better, arguments.target, axes, arguments.within, arguments.config_dir)
    found = report(arguments.folder, asked)
    print(found.text, flush=True)  # first: it stands even where the folder cannot be written
    print(found.write(), end="")
    return 0


def lr_range(argv: list[str]) -> int:
    """``optbench lr-range [overrides]``: the loss while the learning rate rises, and the axis that it suggests."""
    about = "Smith's range test: the loss while the learning rate rises; ends with the command of a sweep."
    parser = _Parser("optbench lr-range", description=about)
    parser.add_argument("--lowest", type=_finite_number, default=1e-6, metavar="LR", help="default: 1e-6")
    parser.add_argument("--highest", type=_finite_number, default=10.0, metavar="LR", help="default: 10")
    parser.add_argument("--steps", type=_whole_number, default=300, metavar="N", help="default: 300")
    parser.add_argument("--plot", metavar="FILE", help="write the loss over the learning rate as .png or .svg")
    parser.add_argument("--csv", metavar="FILE", help="write every step's learning rate and loss")
    parser.add_argument("-cd", "--config-dir", metavar="DIR", help="a folder of YAMLs of your own")
    parser.add_argument("overrides", nargs="*", help="as of optbench train; optim.lr is what is looked for")
    arguments = parser.parse_intermixed_args(argv)
    if not 0 < arguments.lowest < arguments.highest or arguments.steps < 20:
        raise ConfigError(
            f"lr-range needs 0 < --lowest < --highest and --steps ≥ 20, got {arguments.lowest:g}, "
            f"{arguments.highest:g} and {arguments.steps}"
        )
    _check_file("--plot", arguments.plot, PICTURES)
    _check_file("--csv", arguments.csv)
    if any(o.lstrip("+~").partition("=")[0] == "optim.lr" for o in arguments.overrides):
        raise ConfigError("optim.lr is what lr-range looks for: leave it out; --lowest and --highest bound it")
    job = _job(arguments.overrides, arguments.config_dir)
    from runner.search.lr_range import lr_range as test

    found = test(job, arguments.lowest, arguments.highest, arguments.steps)
    if arguments.csv:
        from runner.run.record import write_whole

        rows = ["lr,loss,smoothed_loss", *(",".join(f"{v:.6g}" for v in row) for row in found.steps)]
        write_whole(Path(arguments.csv), "\n".join(rows) + "\n")
        print(f"optbench: {arguments.csv} written", file=sys.stderr)
    if arguments.plot:
        lr, loss, smoothed = zip(*found.steps, strict=True)
        _plot(arguments.plot, "learning rate", "loss", lr, {"loss": loss, "smoothed": smoothed}, log=True)
    if not found.diverged:
        print(f"optbench: the loss had not risen at {arguments.highest:g} yet: try --highest", file=sys.stderr)
    folder = ["--config-dir", arguments.config_dir] if arguments.config_dir else []
    axis = f"optim.lr={','.join(f'{v:g}' for v in found.axis)}"
    print(shlex.join(["optbench", "train", "-m", *folder, *arguments.overrides, axis]))
    return 0


def schedule(argv: list[str]) -> int:
    """``optbench schedule [overrides]``: the learning rate of every step of a run."""
    parser = _Parser("optbench schedule", description="The learning rate of every step, as CSV, without training.")
    parser.add_argument("--plot", metavar="FILE", help="write it as .png or .svg too")
    parser.add_argument("-cd", "--config-dir", metavar="DIR", help="a folder of YAMLs of your own")
    parser.add_argument("overrides", nargs="*", help="as of optbench train, such as scheduler=wsd epochs=5")
    arguments = parser.parse_intermixed_args(argv)
    _check_file("--plot", arguments.plot, PICTURES)
    job = _job(arguments.overrides, arguments.config_dir)
    from runner.run.build import build

    run = build(job)
    if run.plateau is not None:
        raise ConfigError("scheduler=plateau reads the validation loss: its learning rates are not known before")
    rates = [run.schedule(step) for step in range(run.steps)]
    print("step,lr")
    for step, rate in enumerate(rates):
        print(f"{step},{rate:.8g}")
    if arguments.plot:
        _plot(arguments.plot, "step", "learning rate", range(run.steps), {"lr": rates}, log=False)
    return 0


def _job(overrides: list[str], config_dir: str | None) -> Any:
    _find_parts_in_current_folder()
    from runner.config.compose import Composer, start_hydra
    from runner.run.job import prepare

    composer = Composer(start_hydra(config_dir).config_loader)
    for override in composer.parse(overrides, sweep=True):
        if override.sweeps:
            raise ConfigError(f"{override.line} gives several values to one run: give one")
    return prepare(composer.compose(overrides))


PICTURES = (".png", ".svg")


def _check_file(key: str, file: str | None, endings: Sequence[str] = ()) -> None:
    """Refuse a file that cannot be written, before the work that it is for."""
    if file is None:
        return
    path = Path(file)
    if endings and path.suffix not in endings:
        raise ConfigError(f"{key} must be a {' or '.join(endings)}, got {file!r}")
    if path.is_dir():
        raise ConfigError(f"{key} must be a file, got the folder {file!r}")
    if not path.parent.is_dir():
        raise ConfigError(f"{key} must be a file in a folder that is there, got {file!r}")


def _plot(file: str, x: str, y: str, at: Sequence[float], curves: dict[str, Sequence[float]], log: bool) -> None:
    from runner.report.figures import write_lines

    write_lines(Path(file), (x, y), at, curves, log)
    print(f"optbench: {file} written", file=sys.stderr)


def study(argv: list[str]) -> int:
    """``optbench study [NAME…|all]``: verdicts on published findings, whatever they are; without a name, the list."""
    about = "Published findings, reproduced by ordinary runs: the rule is fixed first, the verdict is what it says."
    parser = _Parser("optbench study", description=about)
    parser.add_argument("names", nargs="*", metavar="NAME", help="studies, or all; none: list them")
    kind = _one_of("theory", "ordering")
    parser.add_argument(
        "--class", dest="kind", type=kind, metavar="CLASS", help="of this class alone: theory, ordering"
    )
    parser.add_argument(
        "--page", action="store_true", help="write outputs/studies.html from the verdicts that are there"
    )
    arguments = parser.parse_args(argv)
    from runner.study.catalogue import STUDIES

    known = {s.name: s for s in STUDIES if arguments.kind in (None, s.kind)}
    for name in arguments.names:
        if name != "all" and name not in known:
            of = f" of class {arguments.kind}" if arguments.kind else ""
            raise ConfigError(f"{name!r} is not a study{of}{closest(name, known)}\nvalid: all, {', '.join(known)}")
    if not arguments.names and not arguments.page:
        for found in known.values():
            print(f"{found.name:<22} {found.kind:<9} about {found.seconds} s  {found.finding} ({found.source})")
        return 0
    from runner.study.study import run

    for name in known if "all" in arguments.names else dict.fromkeys(arguments.names):
        chosen = known[name]
        print(f"{name}: {chosen.rule}", file=sys.stderr)
        verdict = run(chosen, lambda text: print(f"optbench: {text}", file=sys.stderr))
        print(f"{name}: {verdict.verdict}\n{verdict.numbers.to_string(index=False)}")
        print(f"{chosen.folder / 'verdict.json'}\n", flush=True)
    from runner.study.page import write_page

    print(f"{write_page()} shows them all")
    return 0


def _finite_number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"must be a finite number, got {text!r}")
    return value


def _whole_number(text: str) -> int:
    try:
        return int(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"must be a whole number, got {text!r}") from error


def _one_of(*words: str) -> Callable[[str], str]:
    """Return what takes one of some words, and names the closest to another."""

    def take(text: str) -> str:
        if text not in words:
            raise argparse.ArgumentTypeError(f"must be one of {', '.join(words)}, got {text!r}{closest(text, words)}")
        return text

    return take


def runs(argv: list[str]) -> int:
    """``optbench runs DIR``: rebuild ``runs.csv``."""
    parser = _Parser("optbench runs", description="Write DIR/runs.csv anew from the folders of its runs.")
    parser.add_argument("folder", metavar="DIR", help="the folder of a sweep, such as outputs/default")
    folder = Path(parser.parse_args(argv).folder)
    if not any(folder.glob("*/config.yaml")):
        raise ConfigError(f"{folder} holds no runs: give the folder of a sweep, such as outputs/default")
    from runner.run.record import rebuild_runs_csv

    print(f"{folder / 'runs.csv'}: {rebuild_runs_csv(folder)} runs")
    return 0


def predict(argv: list[str]) -> int:
    """``optbench predict RUN``: predictions of a trained run as CSV on stdout, or its export."""
    parser = _Parser("optbench predict", description="What a trained run predicts: a row a sample, as CSV on stdout.")
    parser.add_argument("run", help="the run's folder, such as outputs/default/he_normal-adamw-lr0.001-s0-1a2b3c4d")
    part = _one_of("train", "val", "test")
    parser.add_argument("--part", type=part, metavar="PART", help="of the run's own data: train, val, test (default)")
    parser.add_argument("--input", metavar="FILE", help="your own samples instead: .npy, or .csv of numbers")
    parser.add_argument("--export", metavar="FILE", help="write the model with torch.export (.pt2), checked, and stop")
    parser.add_argument("--allow", action="append", default=[], metavar="PATH", help="a part of your own to import")
    arguments = parser.parse_args(argv)
    _find_parts_in_current_folder()
    from runner.after import trained

    if arguments.export and (arguments.input or arguments.part):
        raise ConfigError("--export writes the model alone: leave --input and --part out")
    if arguments.input and arguments.part:
        raise ConfigError(f"--input {arguments.input} beside --part {arguments.part}: give one")
    if arguments.export:
        _check_file("--export", arguments.export)
        difference = trained.export(arguments.run, arguments.export, arguments.allow)
        print(f"{arguments.export}: outputs within {difference:.1g} of the model's")
        return 0
    model = trained.load_model(arguments.run, arguments.allow)
    if arguments.input:
        rows = trained.predict(model, trained.read_inputs(arguments.input, model))
    else:
        samples = trained.part_of_data(arguments.run, arguments.part or "test", arguments.allow)
        targets = samples.y.reshape(len(samples), -1)[:, -1].tolist()
        if model.alphabet is not None:
            targets = [model.alphabet[y] for y in targets]
        rows = [{"target": y} | row for y, row in zip(targets, trained.predict(model, samples.x), strict=True)]
    writer = csv.DictWriter(sys.stdout, ["sample", *rows[0]], lineterminator="\n")
    writer.writeheader()
    writer.writerows({"sample": i, **row} for i, row in enumerate(rows))
    return 0


def _find_parts_in_current_folder() -> None:
    try:
        here = os.getcwd()
    except FileNotFoundError as error:
        raise ConfigError("the current folder is no longer there: change to another one") from error
    if here not in sys.path:  # console scripts leave it out; last, so that nothing of it hides a library
        sys.path.append(here)


def doctor(argv: list[str]) -> int:
    """``optbench doctor``: what this machine offers; exit 1 where something is wrong."""
    _Parser("optbench doctor", description="What this machine offers, and what is wrong with it.").parse_args(argv)
    from runner.cli.doctor import examine

    findings = examine()
    for finding in findings:
        print(f"{'ok   ' if finding.fine else 'WRONG'} {finding.what:<12} {finding.found}")
    return 0 if all(finding.fine for finding in findings) else 1


def completion(argv: list[str]) -> int:
    """``optbench completion SHELL``: a script to be evaluated by the shell."""
    parser = _Parser("optbench completion", description='Tab completion: eval "$(optbench completion bash)"')
    parser.add_argument("shell", type=_one_of("bash", "zsh", "fish", "query"), help="bash, zsh, fish")
    parser.add_argument("words", nargs="*", help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    from runner.cli.completion import SCRIPTS, complete

    if arguments.shell != "query":
        print(SCRIPTS[arguments.shell], end="")
        return 0
    for word in complete(arguments.words):
        print(word)
    return 0
