"""The measure that runs are judged by."""

from dataclasses import dataclass

from runner.errors import ConfigError, closest
from runner.measures import HEADLINES, HIGHER_IS_BETTER, PERCENT, title
from runner.report.load import Records
from runner.statistics.best import Spread, even_spread, loss_spread, share_spread
from runner.statistics.scores import Interval

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
    def sign(self) -> float:
        """What makes a score, of which more is better, of a value."""
        return 1.0 if self.higher else -1.0

    @property
    def spread(self) -> Spread:
        """How settings' variances over seeds should compare, by their scores' means."""
        name = self.name.partition("_")[2]
        if name in SHARES:
            return share_spread
        if name == "r2":
            return lambda means: loss_spread(1 - means)
        return loss_spread if name.endswith(("loss", "mse", "mae", "perplexity")) else even_spread

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

    def clip(self, interval: Interval) -> tuple[float, float]:
        """Return an interval's ends, kept to what the measure can be."""
        low, high = interval.low, interval.high
        if self.counted:
            return max(low, 0.0), min(high, 1.0)
        if self.name == "val_r2":
            return low, min(high, 1.0)
        return (
            (max(low, 0.0), high) if self.name.endswith(("loss", "mse", "mae")) and interval.mean >= 0 else (low, high)
        )


def choose_measure(records: Records, asked: str | None, better: str | None) -> Measure:
    """Return what to judge by: what was asked for, or the headline measure that most runs have.

    Raises:
        ConfigError: if no run has it, or it is one that nothing may be chosen by.
    """
    there = [c.removeprefix("final_val_") for c in map(str, records.runs) if c.startswith("final_val_")]
    there = [name for name in there if records.number(f"final_val_{name}").notna().any()]
    if asked is None:
        if not there:
            raise ConfigError(f"{records.folder}: no run has ended with a validation measure: nothing to report yet")
        counts = {name: int(records.number(f"final_val_{name}").notna().sum()) for name in HEADLINES if name in there}
        asked = max(counts, key=lambda n: counts[n] if n != "loss" else 0) if counts else there[0]
    name = asked.removeprefix("final_").removeprefix("val_")
    if asked.startswith(("test_", "final_test_")):
        raise ConfigError(f"--metric {asked}: the test set is read once, after choosing; choose by val_{asked[5:]}")
    if name not in there:
        raise ConfigError(
            f"--metric {asked} is no measure of these runs{closest(name, there)}\nvalid: {', '.join(there)}"
        )
    if name not in HIGHER_IS_BETTER and better is None:
        raise ConfigError(f"--metric {asked} is your own: add --better higher or --better lower")
    return Measure(f"val_{name}", HIGHER_IS_BETTER[name] if better is None else better == "higher")
