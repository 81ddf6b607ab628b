"""The measure that runs are judged by."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pandas as pd

from runner.errors import ConfigError, NothingYet, closest
from runner.measures import BALANCED, COUNTS, HEADLINES, HIGHER_IS_BETTER, PERCENT, is_skewed, title
from runner.report.load import Records
from runner.statistics import scores as statistics
from runner.statistics.best import LOSS, PLAIN, SHARE, SHORTFALL, Scale
from runner.statistics.scores import Array, Interval

SHARES = (*PERCENT, "precision", "recall", "f1", "roc_auc")
"""Measures between 0 and 1, whose variance falls towards both ends."""


@dataclass(frozen=True)
class Measure:
    """What runs are judged by."""

    name: str
    """As in ``metrics.csv``, such as ``val_accuracy``."""
    higher: bool

    @property
    def column(self) -> str:
        """Its column of ``runs.csv``."""
        return f"final_{self.name}"

    @property
    def test(self) -> str:
        """The same measure on the test set."""
        return "test_" + self.name.partition("_")[2]

    @property
    def title(self) -> str:
        """In words."""
        return title(self.name)

    @property
    def counted(self) -> bool:
        """Whether it is a share of samples, which moves in steps."""
        return self.name.partition("_")[2] in PERCENT

    @property
    def share(self) -> bool:
        """Whether it lies between 0 and 1."""
        return self.name.partition("_")[2] in SHARES

    @property
    def sign(self) -> float:
        """What makes a score, of which more is better, of a value."""
        return 1.0 if self.higher else -1.0

    def scale(self, scores: Array) -> Scale:
        """Return on which scale its variances over seeds are alike, by scores of which more is better."""
        name = self.name.partition("_")[2]
        if self.share:
            return SHARE
        if name == "r2":
            return SHORTFALL
        is_loss = name.endswith(("loss", "mse", "mae", "perplexity")) and not (scores > 0).any()  # it has a logarithm
        return LOSS if is_loss else PLAIN

    def amount(self, value: float) -> str:
        """Return a difference in words: a share's in points, another's as it is."""
        if not self.counted:
            return f"{value:.3g}"
        points = f"{100 * value:.3g}"
        return f"{points} point{'s' * (points != '1')}"

    def span(self, low: float, high: float) -> str:
        """Return an interval of differences, in the same unit."""
        if not self.counted:
            return f"[{low:.3g}, {high:.3g}]"
        return f"[{100 * max(low, -1.0):.3g}, {100 * min(high, 1.0):.3g}]"

    def by(self, difference: float, low: float, high: float) -> str:
        """Return a difference and its interval; one that the set of the best cuts at 0, by its other end alone."""
        if low == 0 < difference:
            return f"{self.amount(difference)} (at most {self.amount(min(high, 1.0) if self.counted else high)})"
        return f"{self.amount(difference)} {self.span(low, high)}"

    def clip(self, interval: Interval) -> tuple[float, float]:
        """Return an interval's ends, kept to what the measure can be."""
        low, high, name = interval.low, interval.high, self.name.partition("_")[2]
        if self.share or name == "r2":
            high = min(high, 1.0)
        if self.share or (name.endswith(("loss", "mse", "mae")) and interval.mean >= 0):
            low = max(low, 0.0)
        if name == "perplexity" and interval.mean >= 1:
            low = max(low, 1.0)
        return low, high


def choose_measure(records: Records, asked: str | None, better: str | None) -> Measure:
    """Return what to judge by: what was asked for, or the headline measure that most runs have.

    Raises:
        ConfigError: if no run has it, or it is one that nothing may be chosen by.
    """
    there = [c.removeprefix("final_val_") for c in map(str, records.runs) if c.startswith("final_val_")]
    there = [n for n in there if n not in COUNTS and records.number(f"final_val_{n}").notna().any()]
    if asked is None:
        if not there and (records.number("val_samples") == 0).any():
            raise ConfigError(
                f"{records.folder}: these runs have no validation samples (data.val_fraction=0), so there is nothing to"
                " select by: the test set is read once and chooses nothing\n"
                "train them with data.val_fraction above 0 to compare them"
            )
        if not there:
            raise NothingYet(f"{records.folder}: no run has ended with a validation measure: nothing to report yet")
        counts = {name: int(records.number(f"final_val_{name}").notna().sum()) for name in HEADLINES if name in there}
        if _says_nothing(records, there):
            del counts["r2"]
        asked = max(counts, key=lambda n: counts[n] if n != "loss" else 0) if counts else there[0]
        asked = _of_skewed(records) if asked == "accuracy" else asked
    name = asked.removeprefix("final_").removeprefix("val_")
    if asked.startswith(("test_", "final_test_")):
        raise ConfigError(f"--metric {asked}: the test set is read once, after choosing; choose by val_{asked[5:]}")
    if name not in there:
        raise ConfigError(
            f"--metric {asked} is no measure of these runs{closest(name, there)}\nvalid: {', '.join(there)}"
        )
    if better is not None and HIGHER_IS_BETTER.get(name) == (better != "higher"):
        raise ConfigError(f"--better {better} is for a measure of your own: of {name} it is known, leave it out")
    if name not in HIGHER_IS_BETTER and better is None:
        raise ConfigError(f"--metric {asked} is your own: add --better higher or --better lower")
    return Measure(f"val_{name}", HIGHER_IS_BETTER[name] if better is None else better == "higher")


def _says_nothing(records: Records, there: Sequence[str]) -> bool:
    """Say whether R² is the same for all runs while their losses differ, as it is of targets that do not vary."""
    if "r2" not in there or "loss" not in there:
        return False
    r2, loss = (records.number(f"final_val_{name}").dropna() for name in ("r2", "loss"))
    return bool(len(r2) > 1 and float(r2.max() - r2.min()) < 1e-9 and float(loss.max() - loss.min()) > 0)


def _of_skewed(records: Records) -> str:
    """Return what is judged by where that would be accuracy, and say so: where classes are skewed the balanced one."""
    known, lacking = (records.number(f"final_val_{name}").notna() for name in (BALANCED, "accuracy"))
    lacking &= ~known
    if not known.any() and records.all_own:
        records.caveats.append(
            "these runs do not tell how large their classes are: they are judged by accuracy, which naming the largest "
            "class for every sample makes high where one is much larger than the others; where that is so, let the "
            "training function record val_balanced_accuracy, and give --metric"
        )
        return "accuracy"
    if not known.any():
        records.caveats.append(
            "these runs do not tell how large their classes are, as an older version made them: they are judged by "
            "accuracy, which naming the largest class for every sample makes high where one is much larger than the "
            "others; force=true trains them again"
        )
        return "accuracy"
    share = _share_of_largest(records)
    if share is None:
        return "accuracy"
    said = f"classes are skewed: {share * 100:.0f} % of the validation samples are of the largest"
    if n := int(lacking.sum()):
        records.caveats.append(
            f"{said}, and {n} run{'s' * (n > 1)} of an older version recorded no balanced accuracy: all are judged by "
            "accuracy, which naming the largest class makes high; force=true trains them again"
        )
        return "accuracy"
    records.caveats.append(
        f"{said}, so runs are judged by balanced accuracy, the mean over classes of the share that is recognized; "
        "--metric val_accuracy judges by accuracy"
    )
    return BALANCED


def _share_of_largest(records: Records) -> float | None:
    """Return the share of the largest class where most runs say that classes are skewed; None where they are not."""
    columns = ["val_samples", "val_classes", "val_largest_class"]
    sizes = pd.DataFrame({column: records.number(column) for column in columns}).dropna()
    if not len(sizes) or not is_skewed({c: float(sizes[c].median()) for c in columns}):
        return None
    return float((sizes["val_largest_class"] / sizes["val_samples"]).median())


def steps_of(measure: Measure, column: Callable[[str], "pd.Series[float]"], part: str, values: Array) -> float:
    """Return in what steps a measure moves: one over what it is a share of, as recorded or as its values tell; or 0.

    Of parts of several sizes, as folds are, it is the smallest's. A balanced accuracy moves by one over its classes
    times the samples of the smallest.

    Args:
        measure: what runs are judged by.
        column: returns a column of ``runs.csv``.
        part: ``val`` or ``test``.
        values: of the measure on that part.
    """
    if not measure.counted:
        return 0.0
    balanced = measure.name.endswith(BALANCED)
    names: Sequence[str] = ("classes", "smallest_class") if balanced else ("samples",)
    known = pd.concat([column(f"{part}_{name}") for name in names], axis=1).dropna().prod(axis=1)
    return 1.0 / float(known.min()) if len(known) and known.min() >= 1 else statistics.resolution(values)
