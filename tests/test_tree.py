"""The tree of files: tests stand beside no other test's code, and nothing is too long to be read in one go."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
MOST_LINES, MOST_OF_A_FUNCTION = 400, 60


def python_files(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def imported(path: Path) -> Iterator[str]:
    """Each module that a file imports, and each name from a module, as dotted paths."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def imported_tests(path: Path) -> list[str]:
    found = (name.split(".") for name in imported(path))
    return [".".join(parts) for parts in found if parts[0] == "tests" and names_a_test(parts)]


def names_a_test(parts: list[str]) -> bool:
    return any(part == "conftest" or part.startswith("test_") for part in parts)


def long_functions(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > MOST_OF_A_FUNCTION:
                yield f"{path.name}:{node.lineno} {node.name}, {lines} lines"


def test_no_test_is_imported() -> None:
    assert {str(path): found for path in python_files("tests", "scripts") if (found := imported_tests(path))} == {}


def test_tests_lie_in_the_folders_of_what_they_test() -> None:
    folders = {path.parent.relative_to(ROOT / "tests").as_posix() for path in python_files("tests")}
    rooms = {path.parent.relative_to(ROOT / "runner").as_posix() for path in python_files("runner")}
    assert folders - rooms == {"support", "docs"}


def test_no_file_is_longer_than_400_lines() -> None:
    scripts = [path for path in (ROOT / "scripts").iterdir() if path.is_file()]
    files = {*python_files("runner", "optbench", "hydra_plugins", "tests"), *scripts}
    long = {str(p.relative_to(ROOT)): len(p.read_text(encoding="utf-8").splitlines()) for p in files}
    assert {name: lines for name, lines in long.items() if lines > MOST_LINES} == {}


def test_no_function_is_longer_than_60_lines() -> None:
    files = python_files("runner", "optbench", "hydra_plugins", "scripts", "tests")
    assert [found for path in files for found in long_functions(path)] == []


def test_an_import_of_a_test_and_a_long_function_are_found(tmp_path: Path) -> None:
    file = tmp_path / "made.py"
    lines = (
        "from tests.engine import test_loop",
        "from tests.engine.test_loop import x",
        "from tests.support import y",
    )
    file.write_text("\n".join(lines))
    assert imported_tests(file) == ["tests.engine.test_loop", "tests.engine.test_loop.x"]
    file.write_text("def short():\n" + "    pass\n" * 59 + "def long():\n" + "    pass\n" * 60)
    assert list(long_functions(file)) == ["made.py:61 long, 61 lines"]
