"""``optbench predict RUN``: predictions of a trained run as CSV on stdout, or its export."""

import csv
import sys
from collections.abc import Sequence

from runner.cli.arguments import Parser, check_file
from runner.cli.one_run import find_parts_in_current_folder
from runner.cli.typed import FILES, FOLDERS
from runner.errors import ConfigError

PARTS = ("train", "val", "test")


def parser() -> Parser:
    """Return what the command takes."""
    parser = Parser("predict", "What a trained run predicts: a row a sample, as CSV on stdout.")
    about = "the run's folder, such as outputs/default/he_normal-adamw-lr0.001-s0-1a2b3c4d"
    parser.add_argument("run", metavar="RUN", help=about, words=FOLDERS)
    about = "of the run's own data: train, val, test (default)"
    parser.add_word("--part", words=PARTS, metavar="PART", help=about)
    about = "your own samples instead: .npy, or .csv of numbers"
    parser.add_argument("--input", metavar="FILE", help=about, words=FILES)
    about = "write the model with torch.export (.pt2), checked, and stop"
    parser.add_argument("--export", metavar="FILE", help=about, words=FILES)
    about = "a part of your own to import"
    parser.add_argument("--allow", action="append", default=[], metavar="PATH", help=about)
    return parser


def run(argv: Sequence[str]) -> int:
    """Print a row a sample, or write the export."""
    arguments = parser().parse_args(argv)
    if arguments.export and (arguments.input or arguments.part):
        raise ConfigError("--export writes the model alone: leave --input and --part out")
    if arguments.input and arguments.part:
        raise ConfigError(f"--input {arguments.input} beside --part {arguments.part}: give one")
    check_file("--export", arguments.export)
    find_parts_in_current_folder()
    if arguments.export:
        from runner.after.export import export

        difference = export(arguments.run, arguments.export, arguments.allow)
        print(f"{arguments.export}: outputs within {difference:.1g} of the model's")
        return 0
    from runner.after.predict import part_of_data, predict, read_inputs
    from runner.run.load import load_model

    model = load_model(arguments.run, arguments.allow)
    if arguments.input:
        rows = predict(model, read_inputs(arguments.input, model))
    else:
        samples = part_of_data(arguments.run, arguments.part or "test", arguments.allow)
        targets = samples.y.reshape(len(samples), -1)[:, -1].tolist()
        if model.alphabet is not None:
            targets = [model.alphabet[y] for y in targets]
        rows = [{"target": y} | row for y, row in zip(targets, predict(model, samples.x), strict=True)]
    writer = csv.DictWriter(sys.stdout, ["sample", *rows[0]], lineterminator="\n")
    writer.writeheader()
    writer.writerows({"sample": i, **row} for i, row in enumerate(rows))
    return 0
