"""What each model reads in examples/sentences, five seeds each: the table of docs/text.md.

python scripts/table_text.py [--update]
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd
from pages import rewrite

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "text.md"
MARKS = ("<!-- models table -->", "<!-- end of models table -->")
DATA = (
    "data=text_csv",
    f"data.path={ROOT / 'examples' / 'sentences' / 'reviews.csv'}",
    "data.text=review",
    "data.label=mood",
)
RATES = {"linear": "0.1", "mlp": "0.001", "rnn": "0.01", "encoder": "0.001"}
SEEDS = 5


def table(folder: Path) -> str:
    """Train every model; return a line each."""
    lines = [
        f"| `optbench train -m data=text_csv … seeds={SEEDS}` | test accuracy, mean | lowest, highest |",
        "| --- | --- | --- |",
    ]
    for model, lr in RATES.items():
        asked = [f"model={model}", f"optim.lr={lr}"]
        command = [sys.executable, "-m", "runner", "train", "-m", f"name={model}", *DATA, *asked, f"seeds={SEEDS}"]
        subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
        found = pd.read_csv(folder / "outputs" / model / "runs.csv")["test_accuracy"]
        lines.append(f"| `{' '.join(asked)}` | {found.mean():.2f} | {found.min():.2f}, {found.max():.2f} |")
    return "\n".join(lines)


def main() -> None:
    """Print the table, and write it where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--update", action="store_true", help="write the table into docs/text.md")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        text = table(Path(folder))
    print(text)
    if arguments.update:
        rewrite(PAGE, MARKS, text)


if __name__ == "__main__":
    main()
