"""Write the table of docs/optimizers.md: what each optimizer costs.

python scripts/table_optimizers.py
"""

import os
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "optimizers.md"
MARKS = ("<!-- facts -->", "<!-- end of facts -->")
HEAD = "| optimizer | linear in the rate | in a stack | bytes | more gradients |\n| --- | --- | --- | --- | --- |"


def main() -> int:
    """Measure and write."""
    sys.path.insert(0, str(ROOT))
    os.chdir(tempfile.mkdtemp())
    from scripts.pages import rewrite
    from tests.support.composed import compose_job
    from tests.support.optimizer_facts import ROWS, row

    found = [row(lambda *overrides: compose_job(list(overrides)), name) for name in ROWS]
    rewrite(PAGE, MARKS, "\n".join([HEAD, *found]))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
