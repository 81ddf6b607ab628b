"""A space of settings: what a search chooses among, and the overrides that each choice stands for."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

Drawn = dict[str, int | float]
"""What was drawn of each parameter: of a choice its option's place, of a number its value."""

DIGITS = 4
"""Numbers are drawn to so many significant digits: what is typed to get them again is short."""
MOST_LISTED = 100_000
"""Settings of a space that can be told one by one."""


@dataclass(frozen=True)
class _Conditional:
    """What is drawn always, or only where another choice came to one of its options."""

    name: str
    when: tuple[str, int] | None = field(default=None, kw_only=True)
    """The other choice, which is always drawn, by its name, and the option's place; None: always."""

    def is_drawn(self, drawn: Mapping[str, int | float]) -> bool:
        """Say whether a setting has it, of which all choices that are always drawn are known."""
        return self.when is None or drawn.get(self.when[0]) == self.when[1]


@dataclass(frozen=True)
class Choice(_Conditional):
    """One of several options, each of which stands for overrides."""

    options: tuple[tuple[str, ...], ...]
    ordered: bool = False
    """Numbers in rising order: what is good is near to what is good."""

    def overrides(self, drawn: int | float) -> tuple[str, ...]:
        """Return what an option stands for."""
        return self.options[int(drawn)]

    @property
    def values(self) -> range:
        """Every value that can be drawn."""
        return range(len(self.options))

    @property
    def ends(self) -> tuple[int, int]:
        """The first and the last value."""
        return 0, len(self.options) - 1

    def __str__(self) -> str:
        return " | ".join(" ".join(option) or "nothing" for option in self.options)


@dataclass(frozen=True)
class Number(_Conditional):
    """A number between two others, both of them included."""

    key: str
    low: float
    high: float
    log: bool = False
    whole: bool = False
    step: float | None = None
    """Between neighbours, counted from ``low``; None: any number, or any whole one."""

    def overrides(self, drawn: int | float) -> tuple[str, ...]:
        """Return what a number stands for."""
        return (f"{self.key}={self.kept(drawn)!r}",)

    def kept(self, drawn: float) -> float:
        """Return a number as it is used: whole, on its step, or to a few digits, and within the ends."""
        if self.whole:
            return int(drawn)
        value = float(f"{drawn:.{10 if self.step else DIGITS}g}")
        return min(max(value, self.low), self.high)

    @property
    def values(self) -> Sequence[float] | None:
        """Every value that can be drawn; None where they are not counted."""
        if self.whole:
            return range(int(self.low), int(self.high) + 1, int(self.step or 1))
        if not self.step:
            return None
        count = math.floor((self.high - self.low) / self.step + 1e-9) + 1
        return [self.kept(self.low + i * self.step) for i in range(count)]

    @property
    def ends(self) -> tuple[float, float]:
        """The least and the largest."""
        return self.kept(self.low), self.kept(self.high)

    def __str__(self) -> str:
        low, high = (f"{end:g}" for end in self.ends)
        steps = f" in steps of {self.step:g}" if self.step else ", whole" if self.whole else ""
        return f"{self.key} from {low} to {high}{steps}{', evenly in the logarithm' if self.log else ''}"


Parameter = Choice | Number


@dataclass(frozen=True)
class Space:
    """What a search chooses among."""

    fixed: tuple[str, ...]
    """Overrides of every run."""
    parameters: tuple[Parameter, ...]
    """A choice before those that depend on it; none depends on one that depends itself."""
    replicates: tuple[tuple[str, ...], ...] = ((),)
    """Overrides of the runs that a setting is judged by, such as a seed each."""

    def active(self, drawn: Mapping[str, int | float]) -> list[Parameter]:
        """Return the parameters that a drawn setting has."""
        return [p for p in self.parameters if p.is_drawn(drawn)]

    def overrides(self, drawn: Mapping[str, int | float]) -> list[str]:
        """Return what is typed to get a drawn setting, its replicates' part left out."""
        return [*self.fixed, *self.chosen(drawn)]

    def chosen(self, drawn: Mapping[str, int | float]) -> list[str]:
        """Return what of that is the setting's own."""
        return [override for p in self.active(drawn) for override in p.overrides(drawn[p.name])]

    def runs(self, drawn: Mapping[str, int | float]) -> list[list[str]]:
        """Return the overrides of each run of a drawn setting."""
        return [[*self.overrides(drawn), *replicate] for replicate in self.replicates]

    def settings(self) -> list[Drawn] | None:
        """Return every setting once; None where they cannot be counted, or are more than ``MOST_LISTED``."""
        return self._expanded(lambda parameter: parameter.values, MOST_LISTED)

    def combinations(self, most: int) -> list[Drawn] | None:
        """Return every combination of options with all numbers at their least; None of more than ``most``."""
        return self._expanded(lambda p: [p.ends[0]] if isinstance(p, Number) or p.ordered else p.values, most)

    def _expanded(self, values: Callable[[Parameter], Sequence[float] | None], most: int) -> list[Drawn] | None:
        found: list[Drawn] = [{}]
        for parameter in self.parameters:
            if (each := values(parameter)) is None:
                return None
            drawn_before, found = found, []
            for drawn in drawn_before:
                there = parameter.is_drawn(drawn)
                if len(found) + (len(each) if there else 1) > most:  # before a wide range is written out
                    return None
                found += [{**drawn, parameter.name: value} for value in each] if there else [drawn]
        return found

    def each_option(self) -> list[Drawn]:
        """Return settings in which each option of each choice comes up once, all else at its first value."""
        first: Drawn = {p.name: p.ends[0] for p in self.parameters}
        found: list[Drawn] = []
        for parameter in (p for p in self.parameters if isinstance(p, Choice)):
            for option in parameter.values:
                condition: Drawn = dict([parameter.when]) if parameter.when else {}
                found.append({**first, **condition, parameter.name: option})
        return found or [first]

    def at_most(self, drawn: Mapping[str, int | float]) -> Drawn:
        """Return a setting with all of its numbers at their largest."""
        largest = {p.name: p.ends[1] for p in self.parameters if isinstance(p, Number) or p.ordered}
        return {**drawn, **largest}

    def described(self) -> dict[str, str]:
        """Return what each parameter may be, by its name."""
        return {p.name: str(p) for p in self.parameters}
