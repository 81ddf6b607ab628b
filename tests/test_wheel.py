"""What is installed by a wheel works from any folder."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(folder / "site")
    return folder / "site"


def test_a_wheel_holds_the_configs_and_runs_from_an_empty_folder(installed: Path, folder: Path) -> None:
    where = f"import runner; assert runner.__file__.startswith({str(installed)!r}); "
    code = where + "import sys; from runner.cli.main import main; sys.exit(main(sys.argv[1:]))"
    environment = {**os.environ, "PYTHONPATH": str(installed)}

    def call(*argv: str) -> str:
        command = [sys.executable, "-c", code, *argv]
        return subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout

    assert "adamw" in call("list", "optim")
    assert "completed" in call("train", "-m", "init=he", "epochs=1", "model.width=8", "seed=0,1", "baselines=false")
    assert "Use:" in call("report", "outputs/default")
    assert "<style>" in (folder / "outputs" / "default" / "report.html").read_text(encoding="utf-8")
    assert (installed / "runner" / "configs" / "config.yaml").is_file()
    assert not (installed / "hydra_plugins" / "__init__.py").exists()
