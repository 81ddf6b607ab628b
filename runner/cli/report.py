"""``optbench report DIR…``: the answer on stdout, ``report.html`` and ``report/`` in DIR, or beside several."""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from runner.cli.arguments import Parser, finite_number, whole_number
from runner.cli.browser import shown_in_browser
from runner.cli.keys import settable
from runner.cli.typed import FOLDERS, Typed
from runner.config.chosen import GROUPS
from runner.errors import ConfigError
from runner.measures import HIGHER_IS_BETTER

ABOUT = (
    "Print the answer of a sweep, and write it to DIR/report.html, with plots and tables in DIR/report/. Several "
    "folders get an answer each, and one about what holds across them, in the folder that they lie in."
)
LARGEST_PORT = 65535


def parser() -> Parser:
    """Return what the command takes."""
    parser = Parser("report", ABOUT)
    about = "the folder of a sweep, such as outputs/default, or of a run; or the folders of several sweeps"
    parser.add_argument("folders", metavar="DIR", nargs="+", help=about, words=FOLDERS)
    about = "where report.html and report/ go (default: DIR, or the folder that several lie in)"
    parser.add_argument("--into", metavar="FOLDER", help=about, words=FOLDERS)
    about = "what to judge by, such as val_loss (default: accuracy, r2, loss)"
    parser.add_argument("--metric", metavar="NAME", help=about, words=tuple(f"val_{m}" for m in HIGHER_IS_BETTER))
    parser.add_word(
        "--better", words=("higher", "lower"), metavar="WAY", help="for a measure of your own: higher, lower"
    )
    about = "report the time to this value of the metric"
    parser.add_argument("--target", type=finite_number, metavar="VALUE", help=about)
    about = "two axes of the heat map, such as init,optim"
    parser.add_argument("--axes", metavar="ROWS,COLUMNS", help=about, words=_axes)
    about = "what counts as near the best (default: 1)"
    parser.add_argument("--within", type=finite_number, default=1.0, metavar="PERCENT", help=about)
    about = "a difference that does not matter, in the metric's units (default: 0.01 for an accuracy)"
    parser.add_argument("--margin", type=finite_number, metavar="VALUE", help=about)
    parser.add_argument("--open", action="store_true", help="show the page in the browser")
    about = "serve the page on this machine and keep it up to date while runs go on, until Ctrl-C"
    parser.add_argument("--watch", action="store_true", help=about)
    parser.add_argument("--port", type=whole_number, metavar="N", help="port for --watch (default: a free one)")
    about = "write the runs for TensorBoard too, into a new folder or one that was written before"
    parser.add_argument("--tensorboard", metavar="FOLDER", help=about, words=FOLDERS)
    parser.add_config_dir()
    return parser


def _axes(typed: Typed) -> list[str]:
    first, comma, _ = typed.word.partition(",")
    return [f"{first}{comma}{axis}" if comma else axis for axis in [*GROUPS, *settable({})] if axis != first]


def run(argv: Sequence[str]) -> int:
    """Write the report and print the answer."""
    given = parser().parse_args(argv)
    _check(given)
    from runner.report.write import Asked, report

    axes = tuple(given.axes.split(",")) if given.axes else None
    asked = Asked(
        given.metric, given.better, given.target, axes, given.within, given.config_dir, given.margin, given.into
    )
    if given.watch:
        from runner.report.render.watch import watch

        folders = [Path(folder) for folder in given.folders]
        watch(folders, lambda: report(folders, asked), given.port or 0, _started(given))
    found = report(given.folders, asked)
    print(found.text, flush=True)  # first: it stands even where the folder cannot be written
    print(found.write(), end="")
    if given.open and not shown_in_browser(found.page.resolve().as_uri()):
        print(f"optbench: there is no browser here; the page is {found.page}", file=sys.stderr)
    if given.tensorboard is not None:
        print(found.write_events(Path(given.tensorboard)), end="")
    return 0


def _check(arguments: argparse.Namespace) -> None:
    """Refuse what does not go together, and what cannot be written."""
    port = arguments.port
    if port is not None and not arguments.watch:
        raise ConfigError(f"--port {port} needs --watch: add it, or leave --port out")
    if port is not None and not 1 <= port <= LARGEST_PORT:
        raise ConfigError(f"--port must be 1 to {LARGEST_PORT}, got {port}")
    if arguments.tensorboard is not None:
        if arguments.watch:
            raise ConfigError("--tensorboard cannot be kept up to date: leave --watch out")
        from runner.report.render.tensorboard import check_destination

        check_destination(Path(arguments.tensorboard), len(arguments.folders))


def _started(arguments: argparse.Namespace) -> Callable[[str], None]:
    """Return what is done once the page is there."""

    shown = ", ".join(arguments.folders)

    def started(url: str) -> None:
        print(f"{url} shows the report of {shown} and follows its runs; Ctrl-C ends it", flush=True)
        if arguments.open and not shown_in_browser(url):
            print(f"optbench: there is no browser here; the page is {url}", file=sys.stderr)

    return started
