"""What a part of one's own may look like, as messages show it: each template runs as it is printed."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from runner.config.options import groups, of_every_run, options

TEMPLATES = {key: setting.template for key, setting in of_every_run().spec.settings.items() if setting.template} | {
    f"{group}.{key}": setting.template
    for group in groups()
    for option in options(group)
    if option.name == "custom"
    for key, setting in option.spec.settings.items()
    if setting.template
}
WRONG = {
    "loss": ["loss=mine.nothing"],
    "metrics": ["metrics=[mine.nothing]"],
    **{f"{group}.target": [f"{group}=custom", f"{group}.target=mine.nothing"]
       for group in ("data", "model", "init", "optim", "task")},
}  # fmt: skip


def test_every_kind_of_part_has_a_template() -> None:
    assert TEMPLATES.keys() == WRONG.keys()


@pytest.mark.parametrize("key", WRONG)
def test_a_template_runs_as_it_is_printed(
    key: str, optbench: Callable, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"mine_{key.replace('.', '_')}"  # a module is imported once a process
    monkeypatch.syspath_prepend(str(folder))
    (folder / f"{name}.py").write_text("")
    refused = optbench("train", *(word.replace("mine", name) for word in WRONG[key]))
    assert refused.code == 2 and "it may look like this" in refused.err, refused.err
    printed = refused.err.partition("it may look like this:\n\n")[2]
    shown = "\n".join(line.removeprefix("    ") for line in printed.rstrip().splitlines())
    command = re.match(r"# mine\.py: optbench (.+)", shown)
    assert command
    name = f"{name}_whole"
    (folder / f"{name}.py").write_text(shown)
    longer = [] if key == "task.target" else ["epochs=1"]
    result = optbench(*command[1].replace("mine", name).split(), *longer)
    assert result.code == 0, result.err


def test_what_is_no_path_is_answered_with_the_template(optbench: Callable, folder: Path) -> None:
    assert "class Net" in optbench("train", "model=custom").err
    assert "class Net" in optbench("train", "model=custom", "model.target=Net").err


def test_a_setting_that_a_part_does_not_take_is_answered_with_those_that_it_takes(
    optbench: Callable, folder: Path
) -> None:
    refused = optbench("train", "model=custom", "model.target=tests.own_parts.Net", "model.args.widht=3").err
    assert "(shape: tuple[int, ...], outputs: int, width: int = 16)" in refused and "did you mean 'width'" in refused
    assert "it may look like this" not in refused
