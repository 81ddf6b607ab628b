"""``optbench report DIR…``: the answer on stdout, ``report.html`` and ``report/`` in DIR, or beside several."""

from collections.abc import Sequence

from runner.cli.arguments import Parser, finite_number
from runner.cli.keys import settable
from runner.cli.typed import FOLDERS, Typed
from runner.config.chosen import GROUPS
from runner.errors import ConfigError
from runner.measures import HIGHER_IS_BETTER

ABOUT = (
    "The answer that runs give: on the terminal, in DIR/report.html, its plots and tables in DIR/report/. Several "
    "sweeps are read together: an answer for each, and what holds across them, beside them."
)


def parser() -> Parser:
    """Return what the command takes."""
    parser = Parser("report", ABOUT)
    about = "the folder of a sweep, such as outputs/default, or of a run; or several sweeps'"
    parser.add_argument("folders", metavar="DIR", nargs="+", help=about, words=FOLDERS)
    about = "where report.html and report/ go (default: DIR, or the folder that several lie in)"
    parser.add_argument("--into", metavar="FOLDER", help=about, words=FOLDERS)
    about = "what to judge by, such as val_loss (default: accuracy, r2, loss)"
    parser.add_argument("--metric", metavar="NAME", help=about, words=tuple(f"val_{m}" for m in HIGHER_IS_BETTER))
    parser.add_word(
        "--better", words=("higher", "lower"), metavar="WAY", help="of a measure of your own: higher, lower"
    )
    parser.add_argument("--target", type=finite_number, metavar="VALUE", help="time to this value of the metric")
    about = "two axes of the heat map, such as init,optim"
    parser.add_argument("--axes", metavar="ROWS,COLUMNS", help=about, words=_axes)
    about = "what counts as near the best (default: 1)"
    parser.add_argument("--within", type=finite_number, default=1.0, metavar="PERCENT", help=about)
    parser.add_config_dir()
    return parser


def _axes(typed: Typed) -> list[str]:
    first, comma, _ = typed.word.partition(",")
    return [f"{first}{comma}{axis}" if comma else axis for axis in [*GROUPS, *settable({})] if axis != first]


def run(argv: Sequence[str]) -> int:
    """Write the report and print the answer."""
    arguments = parser().parse_args(argv)
    axes = tuple(arguments.axes.split(",")) if arguments.axes else None
    if axes is not None and len(axes) != 2:
        raise ConfigError(f"--axes takes two axes, such as init,optim, got {arguments.axes!r}")
    if not 0 < arguments.within < 100:
        raise ConfigError(f"--within must be > 0 and < 100, in percent of the best, got {arguments.within:g}")
    from runner.report.write import Asked, report

    given = arguments
    asked = Asked(given.metric, given.better, given.target, axes, given.within, given.config_dir, into=given.into)
    found = report(given.folders, asked)
    print(found.text, flush=True)  # first: it stands even where the folder cannot be written
    print(found.write(), end="")
    return 0
