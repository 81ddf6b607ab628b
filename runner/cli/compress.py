"""``optbench compress RUN|DIR``: what smaller networks cost in accuracy, and gain in bytes and time."""

from collections.abc import Sequence

from runner.after.chains import DEFAULT, WAYS, Chain
from runner.cli.arguments import Parser, finite_number, whole_number
from runner.cli.one_run import find_parts_in_current_folder
from runner.cli.typed import FOLDERS, Typed
from runner.errors import ConfigError


def parser() -> Parser:
    """Return what the command takes."""
    parser = Parser("compress", "Make trained networks smaller; compare accuracy, bytes and time with the dense ones.")
    about = "a run's folder, or a sweep's that holds one setting with several seeds; it must have kept its weights"
    parser.add_argument("run", metavar="RUN|DIR", help=about, words=FOLDERS)
    about = (
        "ways joined by +, such as prune_structured=0.5+static: prune, prune_once, prune_structured, low_rank, "
        "quantize (trained on), distill (into a narrower network), static, dynamic (int8); without any, a few of them"
    )
    parser.add_argument("chains", nargs="*", metavar="CHAIN", help=about, words=_chains)
    about = "epochs of training after each cut (default: those of the run)"
    parser.add_argument("--epochs", type=whole_number, metavar="N", help=about)
    about = "learning rate after each cut (default: that of the run)"
    parser.add_argument("--lr", type=finite_number, metavar="LR", help=about)
    about = "leave out the small dense networks of equal size, which are trained from scratch"
    parser.add_argument("--no-small", action="store_true", help=about)
    about = "calls to time each latency by (default: 100)"
    parser.add_argument("--rounds", type=whole_number, default=100, metavar="N", help=about)
    parser.add_config_dir()
    parser.add_allow()
    return parser


def _chains(typed: Typed) -> list[str]:
    begun, plus, _ = typed.word.rpartition("+")
    return [f"{begun}{plus}{way}" for way in WAYS if way not in begun]


def run(argv: Sequence[str]) -> int:
    """Train what is missing, measure all, and print the table."""
    arguments = parser().parse_args(argv)
    for flag, value in (("--epochs", arguments.epochs), ("--rounds", arguments.rounds), ("--lr", arguments.lr)):
        if value is not None and value <= 0:
            raise ConfigError(f"{flag} must be > 0, got {value}")
    find_parts_in_current_folder()
    from runner.after.compress import compress

    chains = [Chain.read(text) for text in arguments.chains or DEFAULT]
    length = [] if arguments.epochs is None else [f"epochs={arguments.epochs}"]
    length += [] if arguments.lr is None else [f"optim.lr={arguments.lr}"]
    said = compress(
        arguments.run,
        chains,
        length,
        not arguments.no_small,
        arguments.rounds,
        config_dir=arguments.config_dir,
        allow=arguments.allow,
    )
    print("\n".join(said))
    return 0
