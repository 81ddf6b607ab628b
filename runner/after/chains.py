"""The ways to make a trained network smaller, one after another, as they are typed."""

from dataclasses import dataclass

from runner.errors import ConfigError, closest

TRAINED = {
    "prune_once": "sparsity",
    "prune": "sparsity",
    "prune_structured": "share",
    "low_rank": "share",
    "quantize": "",
}
"""Options of the group ``compress``, and the setting that a number is given to."""
SMALLER, INT8 = "distill", ("static", "dynamic")
"""A narrower network that the dense one teaches; and what onnxruntime makes of a program."""
WAYS = (*TRAINED, SMALLER, *INT8)
DEFAULT = ("prune_structured", "prune_structured+static", "prune", "low_rank", "static", "dynamic")
STUDENT = 0.5
"""Share of the width that a student has where none is given."""


@dataclass(frozen=True)
class Chain:
    """Ways in their order, such as ``prune_structured=0.5+static``."""

    said: str
    trained: tuple[tuple[str, float | None], ...]
    """Options of ``compress``, all of one run."""
    student: float | None
    int8: str | None

    @staticmethod
    def read(text: str) -> "Chain":
        """Read a chain.

        Raises:
            ConfigError: naming the part that is wrong, and what is valid.
        """
        parts = [_part(part, text) for part in text.split("+")]
        names = [name for name, _ in parts]
        if len(set(names)) < len(names):
            raise ConfigError(f"{text}: a way is named twice")
        if any(name in INT8 for name in names[:-1]):
            raise ConfigError(f"{text}: {' and '.join(INT8)} come last, as nothing is trained in int8")
        if SMALLER in names[1:]:
            raise ConfigError(f"{text}: {SMALLER} comes first, as the others change what it has taught")
        student = next((STUDENT if n is None else n for name, n in parts if name == SMALLER), None)
        int8 = names[-1] if names[-1] in INT8 else None
        return Chain(text, tuple(part for part in parts if part[0] in TRAINED), student, int8)

    @property
    def before(self) -> str:
        """The ways that are trained: chains that share them share their runs."""
        return "+".join(part for part in self.said.split("+") if part not in INT8)

    @property
    def rounds(self) -> bool:
        """Whether it ends in torchao's int8."""
        return self.int8 is None and any(name == "quantize" for name, _ in self.trained)


def _part(text: str, chain: str) -> tuple[str, float | None]:
    name, equals, number = text.partition("=")
    if name not in WAYS:
        said = f"{text!r} in {chain} is no way to compress" if text != chain else f"{text!r} is no way to compress"
        raise ConfigError(f"{said}{closest(name, WAYS)}\nvalid: {', '.join(WAYS)}, joined by +")
    if not equals:
        return name, None
    if name != SMALLER and not TRAINED.get(name):
        raise ConfigError(f"{text}: {name} takes no number")
    try:
        value = float(number)
    except ValueError as error:
        raise ConfigError(f"{text}: {number!r} is no number") from error
    if not 0 < value < 1:
        raise ConfigError(f"{text}: the number is a share between 0 and 1, got {number}")
    return name, value
