"""``optbench predict RUN``: predictions of a trained run as CSV on stdout, or its export."""

import csv
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from runner.after.chains import INT8
from runner.cli.arguments import Parser, check_file
from runner.cli.one_run import find_parts_in_current_folder
from runner.cli.typed import FILES, FOLDERS
from runner.errors import ConfigError

if TYPE_CHECKING:
    from runner.data import Samples
    from runner.run.load import Trained

PARTS = ("train", "val", "test")
ENDINGS = (".pt2", ".onnx")


def parser() -> Parser:
    """Return what the command takes."""
    parser = Parser("predict", "What a trained run, or an ensemble, predicts: a row a sample, as CSV on stdout.")
    about = "the run's or ensemble's folder, such as outputs/default/he_normal-adamw-lr0.001-s0-1a2b3c4d"
    parser.add_argument("run", metavar="RUN", help=about, words=FOLDERS)
    about = "which part of the run's own data: train, val, test (default)"
    parser.add_word("--part", words=PARTS, metavar="PART", help=about)
    about = "your own samples instead: a table with the columns trained on, pictures, a text, .npy; - for stdin"
    parser.add_argument("--input", metavar="FILE", help=about, words=FILES)
    parser.add_argument("--probabilities", action="store_true", help="print the probability of every class too")
    about = "write the model as .onnx or .pt2 (torch.export), check it, and write a card beside it; predict nothing"
    parser.add_argument("--export", metavar="FILE", help=about, words=FILES)
    about = "int8 weights in the .onnx: static (ranges of training samples), dynamic (of each batch)"
    parser.add_word("--quantize", words=INT8, metavar="HOW", help=about)
    parser.add_allow()
    return parser


def _read(given: str, model: "Trained") -> "tuple[Samples, str | None]":
    """Read the samples of a file, or of a copy of stdin, which cannot be read twice; what is said names ``-`` then.

    Raises:
        ConfigError: as ``read_own`` does, and for a pipe, which cannot be read twice either.
    """
    from runner.after.predict import read_own

    if given != "-":
        if Path(given).is_fifo():
            raise ConfigError(f"--input={given} is a pipe, which cannot be read twice: give --input - for stdin")
        return read_own(given, model)
    with tempfile.TemporaryDirectory(prefix="optbench-") as folder:
        file = Path(folder) / "stdin"
        file.write_bytes(sys.stdin.buffer.read())
        try:
            samples, note = read_own(file, model)
        except ConfigError as error:
            raise ConfigError(str(error).replace(str(file), "-")) from error
    return samples, note and note.replace(str(file), "-")


def run(argv: Sequence[str]) -> int:
    """Print a row a sample, or write the export."""
    arguments = parser().parse_args(argv)
    if arguments.export and (arguments.input or arguments.part or arguments.probabilities):
        raise ConfigError("--export writes the model alone: leave --input, --part and --probabilities out")
    if arguments.input and arguments.part:
        raise ConfigError(f"--input {arguments.input} beside --part {arguments.part}: give one")
    if arguments.quantize and not arguments.export:
        raise ConfigError(f"--quantize {arguments.quantize} needs --export FILE.onnx")
    check_file("--export", arguments.export, *ENDINGS)
    find_parts_in_current_folder()
    from runner.after.combined import is_ensemble, load_model

    if arguments.export and is_ensemble(arguments.run):
        raise ConfigError(f"--export writes one network, and {arguments.run} is an ensemble: export its members")
    if arguments.export:
        from runner.after.export import exported

        found = exported(arguments.run, arguments.export, arguments.allow, arguments.quantize)
        print("\n".join(found.lines))
        return 0
    from runner.after.predict import part_of_data, predict, targets_of

    model = load_model(arguments.run, arguments.allow)
    if arguments.input:
        samples, note = _read(arguments.input, model)
        if note:
            print(f"optbench: {note}", file=sys.stderr)
        targets = [{"target": y} for y in samples.y.tolist()] if samples.y.ndim == 1 else None
    else:
        samples = part_of_data(arguments.run, arguments.part or "test", arguments.allow)
        targets = targets_of(samples, model)
    rows = predict(model, samples.x, arguments.probabilities)
    if targets is not None:
        rows = [target | row for target, row in zip(targets, rows, strict=True)]
    assert samples.at is not None, "each sample knows where it was read"
    writer = csv.DictWriter(sys.stdout, ["sample", *rows[0]], lineterminator="\n")
    writer.writeheader()
    writer.writerows({"sample": at, **row} for at, row in zip(samples.at.tolist(), rows, strict=True))
    return 0
