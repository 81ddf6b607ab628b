"""A sweep that was trained, once for all tests of reports."""

from pathlib import Path

import pytest

from runner.cli.main import main


@pytest.fixture(scope="session")
def real_sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small sweep that was really trained, in a folder of its own."""
    folder = tmp_path_factory.mktemp("real")
    axes = ["init=he,xavier", "optim=sgd,adam", "optim.lr=1e-3,1e-2,1e-1", "seeds=3", "diagnostics=true"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(["train", "-m", "name=small", *axes, "epochs=4", "model.width=16"]) == 0
    return folder
