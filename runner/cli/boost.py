"""``optbench boost ROUNDS [overrides]``: boosting of small networks, which can be interrupted and gone on with."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from runner import GOES_ON, INTERRUPTED
from runner.cli.arguments import Parser, finite_number
from runner.cli.one_run import find_parts_in_current_folder
from runner.errors import ConfigError
from runner.shell import joined, key_of

if TYPE_CHECKING:
    from runner.after.boost import Boost
    from runner.config.compose import Composer

METHODS = ("samme", "gradient")
RATES = {"samme": 1.0, "gradient": 0.3}
"""As scikit-learn has it for SAMME, and XGBoost for gradient boosting."""
MOST = 1000
ABOUT = """\
Train ROUNDS small networks, each on what those before it got wrong, and combine them. Rounds are ordinary runs in
outputs/<name>/ (name=boost unless given). The same command continues after an interruption, and more ROUNDS add to
them. The result, outputs/ensembles/…, is a predictor: optbench predict takes it.
"""
NOT_HERE = {
    "force": "a boost goes on with its own rounds: give it a name=… of its own to begin anew",
    "pause_at": "a round is given what finished rounds got wrong",
    "fail_fast": "a round that fails ends a boost anyway",
    "dry_run": "what a round is trained on is known once those before it are trained",
}


def parser() -> Parser:
    """Return what the command takes."""
    parser = Parser("boost", ABOUT)
    parser.add_argument("rounds", metavar="ROUNDS", help="number of networks, at least 2", words=("5", "10", "20"))
    about = (
        "samme (votes; what was got wrong counts more; default for classes), gradient (a sum; each round learns "
        "what is left over; default for numbers)"
    )
    parser.add_word("--method", words=METHODS, metavar="NAME", help=about)
    about = f"shrinks the weight of each round, default: {RATES['samme']:g} (samme), {RATES['gradient']:g} (gradient)"
    parser.add_argument("--rate", type=finite_number, metavar="X", help=about)
    parser.add_config_dir()
    parser.add_overrides("as for optbench train, such as model.width=16 epochs=5")
    return parser


def run(argv: Sequence[str]) -> int:
    """Boost, and say what it is worth."""
    arguments = parser().parse_intermixed_args(argv)
    rounds = int(arguments.rounds) if arguments.rounds.isdecimal() else 0
    if not 2 <= rounds <= MOST:
        raise ConfigError(f"ROUNDS must be a whole number from 2 to {MOST}, got {arguments.rounds!r}")
    if arguments.rate is not None and arguments.rate <= 0:
        raise ConfigError(f"--rate must be > 0, got {arguments.rate:g}")
    find_parts_in_current_folder()
    from runner.after import ensemble, said
    from runner.config.compose import Composer

    boost = _prepared(rounds, arguments, Composer.over(arguments.config_dir))
    from runner.sweep.terminal import report_doubts

    report_doubts([boost.first])
    boost.run()
    if boost.interrupted:
        print(GOES_ON, file=sys.stderr)
        return INTERRUPTED
    made = ensemble.finish(boost.team(), boost.recipe(), "")
    made.notes.extend([f"ended early: {boost.ended}"] if boost.ended else [])
    ensemble.write(made, {"rounds": {"weights": boost.weights, "errors": boost.errors}})
    print(said.rounds(boost.weights, boost.errors, boost.method) + "\n" + said.text(made), end="")
    return 0


def _prepared(rounds: int, arguments: Any, composer: "Composer") -> "Boost":
    """Return a boost, its first round checked; nothing has been written.

    Raises:
        ConfigError: for what cannot be boosted.
    """
    from runner.after.boost import SEEDS_APART, Boost
    from runner.run.job import prepare
    from runner.sweep.held import Maker

    overrides = list(arguments.overrides)
    for override in composer.parse(overrides, sweep=True):
        if override.sweeps:
            raise ConfigError(f"{override.line} gives several values to one boost: give one")
    named = {key_of(override) for override in overrides}
    fixed = {"save": "last", "baselines": "false"} | ({} if "name" in named else {"name": "boost"})
    for key in ("save", "data.weights", "data.targets", "data.bootstrap", "seeds", "snapshots"):
        if key in named:
            raise ConfigError(f"{key} is set by boost for each of its rounds: leave it out")
    overrides = [o for o in overrides if not o.startswith("baselines=")]
    asked = [*overrides, *(f"{key}={value}" for key, value in fixed.items())]
    job = prepare(composer.compose(asked))
    if job.is_own:
        raise ConfigError(f"task={job.config['task']['_option_']}: boost needs optbench's own loop, task=train")
    for key, why in NOT_HERE.items():
        if job.config[key]:
            raise ConfigError(f"{key}={job.config[key]} beside boost: {why}")
    if job.config["data"]["generated"]:
        raise ConfigError(
            "data.generated beside boost: its rounds weigh samples by a file, and generated ones are in none"
        )
    method = arguments.method or ("gradient" if job.source.classes is None else "samme")
    _refuse_data(job, method)
    most = (2**31 - 1) // SEEDS_APART - 1
    if job.config["seed"] > most:
        raise ConfigError(f"seed must be ≤ {most} beside boost, whose rounds take {SEEDS_APART} seeds each")
    maker = Maker(composer)
    rate = RATES[method] if arguments.rate is None else arguments.rate
    command = joined(["optbench", "boost", *overrides])
    boost = Boost(job, method, rate, rounds, maker, asked, command)
    boost.check()
    return boost


def _refuse_data(job: Any, method: str) -> None:
    """Refuse what a method cannot boost."""
    if job.source.alphabet is not None:
        raise ConfigError("boost predicts classes or numbers, not the next character of a text")
    if job.source.drawn_by is not None:
        raise ConfigError("boost cannot use data that follow the run's seed, as each round has a seed of its own: "
                          "give data.args.seed")  # fmt: skip
    if method == "samme" and job.source.classes is None:
        raise ConfigError("--method samme needs classes, and these targets are numbers: use --method gradient")
    if method == "gradient":
        for key, usual in (("loss", ("mse", "cross_entropy")), ("class_weights", ("none",))):
            if job.config[key] not in usual:
                raise ConfigError(f"{key}={job.config[key]} beside --method gradient, whose rounds learn by mse")
        if any(o.startswith("loss=") and o != "loss=auto" and job.source.classes is not None for o in job.overrides):
            raise ConfigError("loss=… beside --method gradient, whose rounds learn by mse: leave it out")
    for name in ("mixup", "cutmix"):
        if name in job.config["augment"] and method == "samme":
            raise ConfigError(
                f"augment={name} beside --method samme: samples that are mixed have no weight of their own"
            )
