"""The imports of ``runner/``, drawn: no circle, arrows that run down, nothing heavy where a command is to be fast."""

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

FLOORS = (
    ("ground", {"runner", "errors", "noise", "measures", "metrics", "shell", "statistics"}),
    ("config", {"config"}),
    ("engine", {"engine"}),
    (
        "options",
        {"data", "model", "init", "optim", "scheduler", "regularization", "augment", "batch", "stop", "mup", "task"},
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

LATE = {
    "torch: refusals, finished runs, reports and plans need none": """
        batch.noise_scale engine.checkpoint engine.diagnostics engine.fused engine.fused.batched engine.fused.members
        engine.loop engine.measure engine.memory engine.state run.baselines run.build run.load run.memory
        run.flops run.own_task run.summary run.trainee init model
        study.noise_scale after.export after.predict search.lr_range
    """,
    "pandas and matplotlib: training and lists draw nothing, and most runs predict from no table": """
        report.write report.render.watch report.render.tensorboard report.drawing.figures data.tables.features
        data.sentences
        study.catalogue study.page study.study
    """,
    "hydra: help, lists and completion compose nothing": """
        config.compose run.job run.claim run.outcome run.record sweep.plan sweep.queue sweep.terminal sweep.launch
        cli.present search.answer search.prepare search.tune
    """,
    "yaml: most commands have no folder of one's own": "config.own_yamls",
    "nothing is to come before a Ctrl-C is taken well": "cli.main",
}
"""What imports inside functions spare whom, and the modules that are so imported."""
NAMED_LATE = {name for names in LATE.values() for name in names.split()}

LATE_LIBRARIES = {*HEAVY, "PIL", "optuna", "pytorch_optimizer", "safetensors", "tensorboard", "google_crc32c", "signal"}
"""Of other packages: what reads pictures, extras, and what waits as ``cli.main`` does."""

WITHOUT_TORCH = (
    *("config", "data", "statistics", "report", "cli", "sweep", "scheduler", "stop", "measures", "errors"),
    *("run.job", "run.record", "run.lock", "run.life", "run.claim", "run.stackable", "run.progress"),
    *("run.outcome", "run.packs", "run.process"),
    *("engine.rules", "engine.hooks", "engine.model"),
)
"""Rooms and modules whose import never leads to torch."""
ITSELF_WITHOUT_TORCH = ("batch",)
"""Rooms that have modules which do."""

OF_CONFIG = {"fields", "options", "imports", "own_parts"}
"""Modules of ``config/`` that options may import."""


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


def floor(module: str) -> int:
    return next(number for number, (_, rooms) in enumerate(FLOORS) if room(module) in rooms)


def circle(arrows: Mapping[str, set[str]]) -> list[str]:
    """Return the nodes of one circle, or nothing."""
    try:
        TopologicalSorter(arrows).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def circles(drawing: Drawing) -> list[list[str]]:
    """Return a circle between modules and one between rooms, where there are any; imports for types count."""
    modules: dict[str, set[str]] = {}
    rooms: dict[str, set[str]] = {}
    for a in drawing.inside:
        modules.setdefault(a.source, set()).add(a.target)
        if room(a.source) != room(a.target):
            rooms.setdefault(room(a.source), set()).add(room(a.target))
    return [found for found in (circle(modules), circle(rooms)) if found]


def upward(drawing: Drawing) -> list[str]:
    return [str(a) for a in drawing.inside if floor(a.target) > floor(a.source)]


def late_for_nothing(drawing: Drawing) -> list[str]:
    """Return imports inside functions of modules that are not named, or that spare their module nothing."""
    return [
        str(a)
        for a in drawing.inside
        if a.in_function
        if a.target.partition(".")[2] not in NAMED_LATE
        or (a.target != "runner.cli.main" and not drawing.reached(a.target) - drawing.reached(a.source))
    ]


@pytest.fixture(scope="module")
def drawing() -> Drawing:
    return Drawing(ROOT / "runner")


def test_nothing_imports_itself_in_a_circle(drawing: Drawing) -> None:
    assert circles(drawing) == []


def test_every_room_has_its_floor(drawing: Drawing) -> None:
    placed = [name for _, rooms in FLOORS for name in rooms]
    assert sorted(placed) == sorted({room(module) for module in drawing.files})


def test_arrows_run_down(drawing: Drawing) -> None:
    assert upward(drawing) == []


def test_the_engine_imports_no_option_and_no_config(drawing: Drawing) -> None:
    allowed = {"engine", "errors", "noise", "measures", "metrics"}
    assert [str(a) for a in drawing.inside if room(a.source) == "engine" and room(a.target) not in allowed] == []


def test_options_read_of_config_what_is_free_of_torch(drawing: Drawing) -> None:
    options = next(rooms for name, rooms in FLOORS if name == "options")
    read = [a for a in drawing.inside if room(a.source) in options and room(a.target) == "config"]
    assert [str(a) for a in read if a.target.rpartition(".")[2] not in OF_CONFIG] == []


def test_statistics_serve_reports_searches_and_studies(drawing: Drawing) -> None:
    served = {room(a.source) for a in drawing.inside if room(a.target) == "statistics"} - {"statistics"}
    assert served <= {"report", "search", "study"}
    assert {room(a.target) for a in drawing.inside if room(a.source) == "statistics"} <= {"statistics"}


def test_imports_inside_functions_spare_a_heavy_library(drawing: Drawing) -> None:
    assert late_for_nothing(drawing) == []
    late = {a.target.partition(".")[2] for a in drawing.inside if a.in_function}
    assert sorted(NAMED_LATE - late) == []  # each that is named is so imported


def test_libraries_imported_inside_functions_are_heavy_or_an_extra(drawing: Drawing) -> None:
    late = [a for a in drawing.arrows if a.in_function and a.target not in drawing.files]
    assert [str(a) for a in late if a.target.partition(".")[0] not in LATE_LIBRARIES] == []


def test_what_is_to_be_fast_does_not_lead_to_torch(drawing: Drawing) -> None:
    light = [m for m in drawing.files if any(f"{m}.".startswith(f"runner.{name}.") for name in WITHOUT_TORCH)]
    light += [f"runner.{name}" for name in ITSELF_WITHOUT_TORCH]
    assert len(light) > len(WITHOUT_TORCH)
    assert [m for m in light if "torch" in drawing.reached(m)] == []


def test_a_circle_an_upward_arrow_and_an_idle_late_import_are_found(tmp_path: Path) -> None:
    files = {
        "runner/__init__.py": "",
        "runner/errors.py": "def late():\n    import runner.measures\n",
        "runner/measures.py": "if TYPE_CHECKING:\n    from runner.errors import late\n",
        "runner/engine/__init__.py": "",
        "runner/engine/loop.py": "from runner import optim\n",
        "runner/optim.py": "import torch\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    drawing = Drawing(tmp_path / "runner")
    assert sorted(circles(drawing)[0][1:]) == ["runner.errors", "runner.measures"]
    assert upward(drawing) == ["runner.engine.loop:1 → runner.optim"]
    assert late_for_nothing(drawing) == ["runner.errors:2 → runner.measures"]
    assert drawing.reached("runner.engine.loop") == {"torch"} and not drawing.reached("runner.measures")
