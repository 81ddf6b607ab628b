"""``optbench schedule [overrides]``: the learning rate of every step of a run, without training."""

from collections.abc import Sequence

from runner.cli.arguments import Parser, check_file
from runner.cli.one_run import prepared
from runner.cli.pictures import PICTURES, plot
from runner.cli.typed import FILES
from runner.engine.hooks import Events
from runner.errors import ConfigError


def parser() -> Parser:
    """Return what the command takes."""
    parser = Parser("schedule", "The learning rate of every step, as CSV, without training.")
    parser.add_argument("--plot", metavar="FILE", help="also draw it, as .png or .svg", words=FILES)
    parser.add_config_dir()
    parser.add_overrides("as for optbench train, such as scheduler=wsd epochs=5")
    return parser


def run(argv: Sequence[str]) -> int:
    """Print ``step,lr``."""
    arguments = parser().parse_intermixed_args(argv)
    check_file("--plot", arguments.plot, *PICTURES)
    job = prepared(arguments.overrides, arguments.config_dir)
    from runner.run.build import build

    built = build(job)
    if Events.of(built.hooks).learning_rate:
        option = job.config["scheduler"]["_option_"]
        raise ConfigError(f"scheduler={option} follows the validation loss: its rates are not known before the run")
    rates = [built.schedule(step) for step in range(built.steps)]
    print("step,lr")
    for step, rate in enumerate(rates):
        print(f"{step},{rate:.8g}")
    if arguments.plot:
        plot(arguments.plot, ("step", "learning rate"), range(built.steps), {"lr": rates}, log=False)
    return 0
