"""The imports of a package, drawn: modules, arrows, and the floors of ``runner/``."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

FLOORS = (
    ("ground", {"runner", "errors", "noise", "measures", "metrics", "shell", "statistics"}),
    ("config", {"config"}),
    ("engine", {"engine"}),
    (
        "options",
        {
            "data",
            "generator",
            "model",
            "init",
            "optim",
            "scheduler",
            "regularization",
            "augment",
            "batch",
            "stop",
            "mup",
            "task",
            "parallel",
            "finetune",
            "compress",
        },
    ),
    ("run", {"run"}),
    ("sweep", {"sweep"}),
    ("report", {"report"}),
    ("search, study, after", {"search", "study", "after"}),
    ("cli", {"cli"}),
    ("process", {"__main__", "train"}),
)
"""From the bottom up: a room may import from its own floor and from those below it."""

HEAVY = ("torch", "torchvision", "pandas", "matplotlib", "scipy", "sklearn", "hydra", "omegaconf", "yaml")
"""Libraries that take so long to import that a command which does without one is to be spared it."""


@dataclass(frozen=True)
class Arrow:
    """One import: a module, what it imports, and whether it does so when it is imported itself."""

    source: str
    target: str
    line: int
    in_function: bool
    for_types: bool

    def __str__(self) -> str:
        return f"{self.source}:{self.line} → {self.target}"


class Drawing:
    """Every import of a package, by module."""

    def __init__(self, package: Path) -> None:
        self.files = dict(sorted(_modules(package)))
        self.arrows = [arrow for module in self.files for arrow in self._of(module)]
        self.loaded: dict[str, list[str]] = {module: [] for module in self.files}
        for a in self.arrows:
            if not (a.in_function or a.for_types):
                self.loaded[a.source].append(a.target)
        self.inside = [a for a in self.arrows if a.target in self.files and a.source != a.target]
        self.reached = cache(self._reached)

    def _of(self, module: str) -> Iterator[Arrow]:
        def visit(node: ast.AST, in_function: bool, for_types: bool) -> Iterator[Arrow]:
            for child in ast.iter_child_nodes(node):
                targets: list[str] = []
                if isinstance(child, ast.Import):
                    targets = [alias.name for alias in child.names]
                elif isinstance(child, ast.ImportFrom):
                    assert child.level == 0 and child.module, f"{module}:{child.lineno} imports relatively"
                    longer = [f"{child.module}.{alias.name}" for alias in child.names]
                    targets = list(dict.fromkeys(name if name in self.files else child.module for name in longer))
                yield from (Arrow(module, t, getattr(child, "lineno", 0), in_function, for_types) for t in targets)
                yield from visit(
                    child,
                    in_function or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda),
                    for_types or (isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)),
                )

        yield from visit(ast.parse(self.files[module].read_text(encoding="utf-8")), False, False)

    def _reached(self, module: str) -> frozenset[str]:
        """Return the heavy libraries that importing a module imports."""
        seen: set[str] = set()
        waiting = [module]
        while waiting:
            at = waiting.pop()
            if at in seen:
                continue
            seen.add(at)
            waiting += self.loaded.get(at, [])
            waiting += [at.rpartition(".")[0]] if at in self.files and "." in at else []
        return frozenset(library for library in HEAVY for name in seen if name.partition(".")[0] == library)


def _modules(package: Path) -> Iterator[tuple[str, Path]]:
    for path in package.rglob("*.py"):
        parts = path.relative_to(package.parent).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def room(module: str) -> str:
    """Return the folder, or the top-level file, that a module lies in."""
    return module.split(".")[1] if "." in module else module
