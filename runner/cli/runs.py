"""``optbench runs DIR``: rebuild ``runs.csv``."""

from collections.abc import Sequence
from pathlib import Path

from runner.cli.arguments import Parser
from runner.cli.typed import FOLDERS
from runner.errors import ConfigError


def parser() -> Parser:
    """Return what the command takes."""
    parser = Parser("runs", "Write DIR/runs.csv anew from the folders of its runs.")
    about = "the folder of a sweep, such as outputs/default"
    parser.add_argument("folder", metavar="DIR", help=about, words=FOLDERS)
    return parser


def run(argv: Sequence[str]) -> int:
    """Write ``runs.csv`` and say how many runs it holds."""
    folder = Path(parser().parse_args(argv).folder)
    if not any(folder.glob("*/config.yaml")):
        raise ConfigError(f"{folder} holds no runs: give the folder of a sweep, such as outputs/default")
    from runner.run.record import rebuild_runs_csv

    print(f"{folder / 'runs.csv'}: {rebuild_runs_csv(folder)} runs")
    return 0
