"""README.md and the pages of docs/: their commands, and a folder in which these work."""

import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "README.zh.md", *sorted((ROOT / "docs").rglob("*.md"))]


def commands(page: Path) -> list[str]:
    """Return what a page's shell blocks ask to type, from ``optbench`` on; what follows a # is said, not typed."""
    found = []
    for block in re.findall(r"(?ms)^```sh\n(.*?)^```", page.read_text(encoding="utf-8")):
        for line in block.replace("\\\n", " ").splitlines():
            typed = re.split(r"\s+#", line)[0].strip()
            if typed.startswith("optbench "):
                found.append(" ".join(typed.split("  ")))
    return found


def furnish(folder: Path) -> None:
    """Put into a folder what the pages' commands name: tables, modules, options of one's own, texts."""
    draw = np.random.default_rng(0)
    cars = pd.DataFrame(draw.normal(size=(200, 3)).round(3), columns=["power", "weight", "year"])
    cars["mpg"] = (20 - 3 * cars["weight"] + draw.normal(size=200)).round(2)
    cars.to_csv(folder / "cars.csv", index=False)
    cars.drop(columns="mpg").head().to_csv(folder / "new_cars.csv", index=False)
    cars.rename(columns={"mpg": "price"}).to_csv(folder / "table.csv", index=False)
    for name in ("own_table/wine.csv", "sentences/reviews.csv", "sentences/synonyms.txt", "sentences/paraphrases.csv"):
        shutil.copy(ROOT / "examples" / name, folder)
    parts = [ROOT / "examples" / name / "mine.py" for name in ("own_model", "own_optimizer")]
    page = (ROOT / "docs" / "quickstart.md").read_text(encoding="utf-8")
    parts_text = [path.read_text(encoding="utf-8") for path in parts]
    own = re.findall(r"(?ms)^```python\n(# mine\.py.*?)^```", page)
    assert len(own) == 1
    loss = "\n\ndef loss(outputs, y):\n    return torch.nn.functional.cross_entropy(outputs, y)\n"
    (folder / "mine.py").write_text("\n\n".join([*own, *parts_text]) + loss, encoding="utf-8")
