"""The imports of ``runner/``, drawn: no circle, arrows that run down, nothing heavy where a command is to be fast."""

from collections.abc import Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from tests.support.drawing import FLOORS, HEAVY, Drawing, room

ROOT = Path(__file__).resolve().parent.parent

LATE = {
    "torch: refusals, finished runs, reports and plans need none": """
        batch.noise_scale engine.checkpoint engine.diagnostics engine.fused engine.fused.batched engine.fused.members
        engine.loop engine.measure engine.memory engine.state run.baselines run.build run.memory run.own_task
        run.summary run.trainee init model parallel.join parallel.processes parallel.refusal engine.snapshots
        search.lr_range study.noise_scale after.boost after.combined after.ensemble after.equal after.export
        after.members after.predict after.said after.compress run.flops metrics
    """,
    "pandas and matplotlib: training and lists draw nothing, and most runs predict from no table": """
        report.write report.render.watch report.render.tensorboard report.drawing.figures data.tables.features
        data.sentences
        study.catalogue study.page study.study after.reliability
        study.contest.catalogue study.contest.plan study.contest.shards study.contest.verdict
    """,
    "hydra: help, lists and completion compose nothing": """
        config.compose run.job run.claim run.outcome run.record run.devices run.launcher sweep.held sweep.plan
        sweep.queue sweep.terminal sweep.launch cli.present search.answer search.automatic search.prepare
        after.trained_again search.conclusion
    """,
    "yaml: most commands have no folder of one's own": "config.own_yamls",
    "nothing is to come before a Ctrl-C is taken well": "cli.main",
}
"""What imports inside functions spare whom, and the modules that are so imported."""
NAMED_LATE = {name for names in LATE.values() for name in names.split()}

LATE_LIBRARIES = {
    *(*HEAVY, "PIL", "optuna", "pytorch_optimizer", "safetensors", "tensorboard", "google_crc32c", "signal"),
    *("onnx", "onnxruntime", "onnxscript", "torch_pruning", "torchao", "ray", "submitit"),
}
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

OF_CONFIG = {"fields", "hydra_door", "options", "imports", "own_parts"}
"""Modules of ``config/`` that options may import."""


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
    assert served <= {"after", "report", "search", "study"}
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
