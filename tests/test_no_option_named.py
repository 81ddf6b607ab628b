"""``engine/``, ``run/`` and ``sweep/`` know no shipped option by its name: what is known of it stands beside it."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.config.options import groups, options

ROOT = Path(__file__).parents[1] / "runner"
FILES = sorted(path for room in ("engine", "run", "sweep") for path in (ROOT / room).rglob("*.py"))
CHOSEN = {group: [option.name for option in options(group)] for group in groups() if group != "experiment"}
NAMES = {name for names in CHOSEN.values() for name in names}
WORDS = {
    **dict.fromkeys(("auto", "none", "cross_entropy"), "what a setting of every run may be"),
    **dict.fromkeys(
        (
            *("steps", "step", "time", "target", "batch", "loss", "linear", "noise", "scale", "train"),
            *("tensor", "pipeline", "layers", "head", "full"),
        ),
        "an ordinary word",
    ),
    **dict.fromkeys(("grad_norm", "weight_norm"), "a column"),
    **dict.fromkeys(("zeros", "default"), "a function's name, or an attribute's, in a library"),
}
"""Words that are options' names and something else, and what they are there."""


def names_in(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the texts and names of a module's code: not its docstrings, nor the words in its messages."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    docs = {id(node.value) for node in ast.walk(tree) if _is_text(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
            yield node.lineno, node.value
        elif isinstance(node, ast.Attribute):
            yield node.lineno, node.attr
        elif isinstance(node, ast.ClassDef | ast.FunctionDef):
            yield node.lineno, node.name


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def named(path: Path) -> list[str]:
    """Return where a module names an option: alone, or as ``group=option``."""
    found = []
    for line, text in names_in(path):
        alone = text in NAMES and text not in WORDS
        chosen = [f"{g}={o}" for g, o in re.findall(r"\b(\w+)=(\w+)", text) if o in CHOSEN.get(g, ())]
        found += [f"{path.name}:{line} {text!r}"] if alone or chosen else []
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_option_is_named(path: Path) -> None:
    assert named(path) == []


def test_a_name_and_a_choice_are_found(tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    module.write_text('"""As with sgd."""\nif option == "sgd":\n    raise ValueError("batch=adaptive, and so on")\n')
    assert len(named(module)) == 2
    module.write_text("class x:\n    def dropout(self): self.ema\n")
    assert len(named(module)) == 2
