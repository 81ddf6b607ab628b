"""Jobs held as overrides: what a folder says of one is data, and names nothing that is imported."""

import sys
from pathlib import Path

import pytest

from runner.config.compose import Composer
from runner.errors import ConfigError
from runner.run import claim, packs
from runner.sweep.held import Held, Maker
from tests.support.known import TINY

EVIL = [*TINY, "data=custom", "data.target=evil_part.load"]


@pytest.fixture
def evil(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A part that says where it was imported."""
    (folder / "evil_part.py").write_text(
        "from pathlib import Path\nimport numpy as np\nPath('imported').touch()\n\n\n"
        "def load():\n    return np.eye(9), np.arange(9) % 2\n"
    )
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, "evil_part", raising=False)
    return folder / "imported"


def held(*overrides: str, maker: Maker | None = None) -> Held:
    maker = maker or Maker(Composer.over())
    return Held.of(maker([*TINY, *overrides]), maker)


def test_a_packs_plan_in_a_folder_has_nothing_imported(evil: Path) -> None:
    job = held("seed=0")
    plan = packs.place_of(job.folder.parent, [job.run_id, "deadbeef"])
    packs.write(plan, packs.Plan({job.run_id: job.overrides, "deadbeef": EVIL}, whole=True))
    assert claim._along([job], plan, {job.run_id}) == []
    with pytest.raises(ConfigError, match=r"'evil_part\.load' may not be imported"):
        job.sibling(EVIL, job.allow)
    assert not evil.exists()


def test_what_the_jobs_of_a_command_name_is_imported_for_others_beside_them(evil: Path) -> None:
    maker = Maker(Composer.over())
    job = held("seed=0", maker=maker)
    asked = maker(EVIL)
    assert evil.exists() and job.sibling(EVIL, frozenset()).run_id == asked.run_id
    evil.unlink()
    other = held("seed=0")
    assert other.sibling(EVIL, asked.allow).run_id == asked.run_id
