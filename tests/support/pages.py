"""README.md and the pages of docs/: their commands, and a folder in which these work."""

import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "README.zh.md", *sorted((ROOT / "docs").rglob("*.md"))]

TASK = """
def train(config, seed, run):
    for step in range(1, config["task"]["steps"] + 1):
        run.row(step=step, train_loss=1 / step, val_accuracy=step / (1 + step + seed))
    run.finish(test_accuracy=0.5)
"""
"""What docs/own_training.md calls mymodule.train."""


def commands(page: Path) -> list[str]:
    """Return what a page's shell blocks ask to type, from ``optbench`` on; what follows a # is said, not typed."""
    found = []
    for block in re.findall(r"(?ms)^```sh\n(.*?)^```", page.read_text(encoding="utf-8")):
        for line in block.replace("\\\n", " ").splitlines():
            typed = re.split(r"\s+#", line)[0].strip()
            if typed.startswith("optbench "):
                found.append(" ".join(typed.split("  ")))
    return found


def named_in_text(page: Path) -> list[str]:
    """Return the commands that a page's sentences and tables name, without those that have words to fill in."""
    text = re.sub(r"(?ms)^```.*?^```", "", page.read_text(encoding="utf-8"))
    spans = [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", text)]
    open_words = re.compile(r"…|<|[A-Z]{3}|名字|--help")
    return [span for span in spans if re.match(r"optbench \S+ \S", span) and not open_words.search(span)]


def furnish(folder: Path) -> None:
    """Put into a folder what the pages' commands name: tables, modules, options of one's own, texts."""
    draw = np.random.default_rng(0)
    cars = pd.DataFrame(draw.normal(size=(200, 3)).round(3), columns=["power", "weight", "year"])
    cars["mpg"] = (20 - 3 * cars["weight"] + draw.normal(size=200)).round(2)
    cars.to_csv(folder / "cars.csv", index=False)
    cars.drop(columns="mpg").head().to_csv(folder / "new_cars.csv", index=False)
    cars.rename(columns={"mpg": "price"}).to_csv(folder / "table.csv", index=False)
    shutil.copytree(ROOT / "examples" / "own_table", folder / "examples" / "own_table")
    for name in ("own_table/wine.csv", "sentences/reviews.csv", "sentences/synonyms.txt", "sentences/paraphrases.csv"):
        shutil.copy(ROOT / "examples" / name, folder)
    parts = [ROOT / "examples" / name / "mine.py" for name in ("own_model", "own_optimizer")]
    page = (ROOT / "docs" / "quickstart.md").read_text(encoding="utf-8")
    parts_text = [path.read_text(encoding="utf-8") for path in parts]
    own = re.findall(r"(?ms)^```python\n(# mine\.py.*?)^```", page)
    assert len(own) == 1
    loss = "\n\ndef loss(outputs, y):\n    return torch.nn.functional.cross_entropy(outputs, y)\n"
    page = (ROOT / "docs" / "own_training.md").read_text(encoding="utf-8")
    (yaml,) = re.findall(r"(?ms)^```yaml\n# mine/task/mine\.yaml\n(.*?)^```", page)
    (folder / "mine" / "task").mkdir(parents=True)
    (folder / "mine" / "task" / "mine.yaml").write_text(yaml, encoding="utf-8")
    (folder / "mymodule.py").write_text(TASK, encoding="utf-8")
    (folder / "mine.py").write_text("\n\n".join([*own, *parts_text]) + loss, encoding="utf-8")
