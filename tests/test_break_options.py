"""Every planted error of scripts/break_options.py still has its place, so that the script can plant it."""

import importlib.util
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "scripts"))  # as it is where the script is run
_spec = importlib.util.spec_from_file_location("break_options", ROOT / "scripts" / "break_options.py")
assert _spec and _spec.loader
_script = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_script)


@pytest.mark.parametrize("broken", _script.BREAKS, ids=lambda broken: broken.what)
def test_a_planted_error_has_its_one_place_and_a_test_that_must_notice_it(broken) -> None:
    assert (ROOT / broken.file).read_text(encoding="utf-8").count(broken.right) == 1
    file, _, chosen = broken.noticed_by.partition(" ")
    assert file == "study" or chosen in (ROOT / file).read_text(encoding="utf-8")
