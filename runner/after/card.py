"""The card beside an exported model: what it was trained on, how, how good it is and what it is not for."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from runner.after.predict import labels_of
from runner.config.identity import REPLICATES, choices
from runner.errors import ConfigError
from runner.measures import BALANCED, share_of_one_class
from runner.run.files import FINISHED, read_config, read_csv, read_summary
from runner.run.load import Trained
from runner.statistics.scores import mean_interval

ENDING = ".card.md"
FIRST_LINE = "# Model card of "
MEASURES = ("test_accuracy", "test_mse", "test_loss")
"""The first that a run has is the one that the card gives; before them, where classes are skewed, the balanced one."""
_GROUPS = ("data", "model", "init", "optim", "scheduler", "regularization", "augment", "batch", "finetune", "compress")


def place_of(program: str | Path) -> Path:
    """Return where the card of a program lies.

    Raises:
        ConfigError: if another file lies there.
    """
    path = Path(f"{program}{ENDING}")
    if path.exists() and not path.read_text(encoding="utf-8", errors="replace").startswith(FIRST_LINE):
        raise ConfigError(f"{path} is in the place of the model card and is none: move it, or name another file")
    return path


def card(run: str | Path, program: str | Path, model: Trained, form: Sequence[str]) -> str:
    """Return the card in Markdown.

    Args:
        run: the run's folder.
        program: the file that it stands beside.
        model: what was written.
        form: lines on the file: format, inputs, outputs, checks.
    """
    config, summary = read_config(run), read_summary(Path(run)) or {}
    parts: list[tuple[str, Sequence[str]]] = [
        ("File", form),
        ("Inputs and labels", _reading(model)),
        ("Data", _data(config, summary)),
        ("Setting", _setting(config, summary)),
        ("How good", _quality(Path(run), config, summary)),
        ("Limits", _limits(model, summary)),
    ]
    lines = [f"{FIRST_LINE}{Path(program).name}", ""]
    for title, said in parts:
        lines += [f"## {title}", "", *(f"- {line}" for line in said), ""]
    return "\n".join(lines)


def _reading(model: Trained) -> list[str]:
    lines = [f"an input is {list(model.shape)}, raw: it is normalized inside"]
    reading = model.reading or {}
    if names := reading.get("inputs"):
        lines.append(f"its numbers, in order: {', '.join(map(str, names))}")
    if model.fill is not None:
        lines.append(
            "a missing number is NaN, and so are all numbers of a missing text; inputs “… missing” are worked out"
        )
    if model.alphabet is not None:
        lines.append(f"a text is the places of its characters in {model.alphabet!r}; the label is the next character")
    if model.vocabulary is not None:
        lines.append("a sentence is the numbers of its tokens: `optbench.load_model(RUN).encoded([text])` gives them")
    if model.classes is not None and model.alphabet is None:
        lines.append(f"labels: {', '.join(map(str, labels_of(model)))}")
    elif model.classes is None:
        lines.append("outputs are numbers in the target's own unit")
    return lines


def _data(config: Mapping[str, Any], summary: Mapping[str, Any]) -> list[str]:
    data = config["data"]
    named = [f"{key}={data[key]}" for key in ("path", "label", "target") if data.get(key) is not None]
    sizes = [
        f"{summary[f'{part}_samples']} {part}" for part in ("train", "val", "test") if f"{part}_samples" in summary
    ]
    return [
        " ".join([f"data={data['_option_']}", *named]),
        f"fingerprint {summary.get('data_fingerprint', 'unknown')}, split by data.split_seed={data['split_seed']}",
        f"samples: {', '.join(sizes) or 'unknown'}",
    ]


def _setting(config: Mapping[str, Any], summary: Mapping[str, Any]) -> list[str]:
    columns = choices(dict(config))
    lines = [
        f"{group}={columns[group]}"
        + "".join(f", {k}={v}" for k, v in columns.items() if k.startswith(f"{group}.") and v not in (None, []))
        for group in _GROUPS
        if group in columns and columns[group] != "none"
    ]
    length = f"{summary.get('steps', '?')} steps, {summary.get('epochs', float('nan')):g} epochs, seed {config['seed']}"
    made = f"optbench {summary.get('optbench_version')}, torch {summary.get('torch_version')}"
    size = f"{summary.get('parameters', '?')} parameters"
    return [*lines, length, f"{size}; made by {made}; run {summary.get('run_id', 'unknown')}"]


def _quality(run: Path, config: Mapping[str, Any], summary: Mapping[str, Any]) -> list[str]:
    of_one_class = share_of_one_class(summary)
    measures = MEASURES if of_one_class is None else (f"test_{BALANCED}", *MEASURES)
    name = next((name for name in measures if summary.get(name) is not None), None)
    if name is None:
        return ["nothing is known: the run was not tested"]
    lines = [f"{name} {summary[name]:.4g} of this run, on {summary.get('test_samples', '?')} samples"]
    if of_one_class is not None:
        lines.append(
            f"classes are skewed: test_accuracy is {summary['test_accuracy']:.4g}, and {of_one_class:.4g} for naming "
            "the largest class for every sample"
        )
    values = of_setting(run, config, name)
    found = mean_interval(list(values.values()))
    if found.known:
        which = ", ".join(values)
        lines.append(f"{name} {found.mean:.4g}, 95 % interval {found.low:.4g} to {found.high:.4g}, of {found.n} runs")
        lines.append(f"these are the runs of the same setting beside it, with {which}")
    else:
        lines.append("no interval: the same setting was run with one seed alone; seeds=5 gives one")
    return lines


def of_setting(run: Path, config: Mapping[str, Any], name: str) -> dict[str, float]:
    """Return a measure of the runs in a run's sweep that differ in seed, split or fold alone, by which of these."""
    rows = [row for row in read_csv(run.resolve().parent / "runs.csv") if row.get("status") in FINISHED]
    own = next((row for row in rows if row.get("run_id") == run.resolve().name.rpartition("-")[2]), None)
    if own is None:
        return {}
    same = [key for key in choices(dict(config)) if key not in REPLICATES]
    alike = [row for row in rows if all(row.get(key) == own.get(key) for key in same)]
    varying = [key for key in REPLICATES if len({row.get(key) for row in alike}) > 1] or ["seed"]
    return {" ".join(f"{key}={row.get(key)}" for key in varying): float(row[name]) for row in alike if row.get(name)}


def _limits(model: Trained, summary: Mapping[str, Any]) -> list[str]:
    lines = ["it is known to be so good on samples drawn as its test set was; nothing was measured on any others"]
    if model.classes is not None and model.alphabet is None:
        lines.append("every input gets one of the labels above, also one that is none of them")
        lines.append("probabilities are softmax outputs; whether they are calibrated was not measured here")
    else:
        lines.append(
            "it says nothing of how sure it is" if model.classes is None else "it continues texts like its own"
        )
    if (val := summary.get("val_samples")) and (least := summary.get("test_smallest_class")):
        lines.append(f"the rarest class has {least} test samples; choices were made on {val} validation samples")
    return lines
