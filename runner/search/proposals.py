"""What is tried next: asked of Optuna's samplers, a generation at a time.

The proposals of a generation are a function of the study's seed and of the finished generations before it. Nothing of
a sampler is kept between generations: each asks a sampler of its own, seeded by the study's seed and the generation's
number, that is told the earlier trials in their order. So it does not matter who trains the trials, in which order
they end, or how often the search is interrupted.
"""

import random
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any

from runner.errors import ConfigError
from runner.search.space import Choice, Drawn, Number, Parameter, Space

if TYPE_CHECKING:
    import optuna

VALUE_DIGITS = 5
"""To which values are told, so that a last bit decides nothing."""
ASKS = 20
"""For each trial of a generation, before what was tried already is no longer asked for but looked for."""


@dataclass(frozen=True)
class Tried:
    """A trial that has ended."""

    drawn: Drawn
    value: float | None
    """What it came to; None where it diverged or failed."""
    rung: int | None = None
    """The one that it was left at; None where it was trained to its end."""


@dataclass(frozen=True)
class Method:
    """How a study proposes."""

    space: Space
    sampler: str
    seed: int
    higher_is_better: bool

    def generation(
        self, number: int, history: Sequence[Tried], asked: int, size: int, take: Callable[[Drawn], bool]
    ) -> int:
        """Draw until so many settings are taken, or all were drawn; return how many were drawn.

        Args:
            number: of the generation.
            history: every trial of the generations before it, in order.
            asked: how many settings those drew in all.
            size: how many to take.
            take: is handed a setting, and says whether it is new and can be run.
        """
        drawn = taken = 0
        for setting in islice(self.draws(number, history, asked), ASKS * size):
            drawn += 1
            taken += take(setting)
            if taken == size:
                return drawn
        for setting in self._rest(number):
            taken += take(setting)
            if taken == size:
                break
        return drawn

    def _rest(self, number: int) -> Iterator[Drawn]:
        """Yield what samplers may have missed: all settings in a random order, where they can be counted."""
        chance = random.Random(f"{self.seed} {number}")
        if (settings := self.space.settings()) is not None:
            chance.shuffle(settings)
            yield from settings

    def draws(self, number: int, history: Sequence[Tried], asked: int) -> Iterator[Drawn]:
        """Yield settings without end, the best guess first; arguments as of ``generation``."""
        optuna = imported()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of parts that Optuna calls experimental
            sampler = self._sampler(number)
            direction = "maximize" if self.higher_is_better else "minimize"
            study = optuna.create_study(direction=direction, sampler=sampler)
            if self.sampler == "qmc":
                space = {p.name: distribution(p) for p in self.space.parameters}
                trial = optuna.trial.create_trial(state=optuna.trial.TrialState.RUNNING)
                for _ in range(asked):  # a sampler made anew would begin at its first point again
                    sampler.sample_relative(study, trial, space)
            else:
                study.add_trials(self._told(history))
        while True:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                if self.sampler == "qmc":
                    found = sampler.sample_relative(study, trial, space)
                    drawn = {p.name: _kept(p, found[p.name]) for p in self.space.parameters}
                else:
                    drawn = self._ask(study)
            yield drawn

    def _sampler(self, number: int) -> Any:
        """Return a sampler of a generation's own; points of a sequence are the study's."""
        samplers = imported().samplers
        seed = random.Random(f"{self.seed}/{number}").randrange(2**32)
        if self.sampler == "random":
            return samplers.RandomSampler(seed=seed)
        if self.sampler == "qmc":
            return samplers.QMCSampler(seed=self.seed, scramble=True)
        if self.sampler == "gp":
            return samplers.GPSampler(seed=seed)
        return samplers.TPESampler(seed=seed, multivariate=True, group=True, constant_liar=True)

    def _told(self, history: Sequence[Tried]) -> list[Any]:
        """Return the history as Optuna's trials: what has no value counts as the worst so far.

        Beside trials that were left at a rung it counts as worse than these, and these as worse than all that went
        further. Of them a Gaussian process, which knows no rungs, is told no better values than those had.
        """
        optuna = imported()
        rungs = self.sampler != "gp" and any(t.rung is not None for t in history)
        history = history if rungs else _without_rungs(history, self.higher_is_better)
        known = [t.value for t in history if t.value is not None]
        if not known:
            return []
        worst = min(known) if self.higher_is_better else max(known)
        told = []
        for tried in history:
            there = [p for p in self.space.parameters if p.name in tried.drawn]
            value = float(f"{worst if tried.value is None else tried.value:.{VALUE_DIGITS}g}")
            distributions = {p.name: distribution(p) for p in there}
            params = {p.name: tried.drawn[p.name] for p in there}
            given: dict[str, Any] = {"params": params, "distributions": distributions}
            if rungs and (tried.value is None or tried.rung is not None):
                at = {} if tried.value is None or tried.rung is None else {tried.rung: value}
                pruned = optuna.trial.TrialState.PRUNED
                told.append(optuna.trial.create_trial(**given, state=pruned, intermediate_values=at))
            else:
                told.append(optuna.trial.create_trial(**given, value=value))
        return told

    def _ask(self, study: "optuna.Study") -> Drawn:
        trial = study.ask()
        drawn: Drawn = {}
        for parameter in self.space.parameters:
            if self.sampler == "gp" or parameter.is_drawn(drawn):  # which draws from one box, every parameter each time
                drawn[parameter.name] = _kept(parameter, _suggested(trial, parameter))
        return drawn


def _without_rungs(history: Sequence[Tried], higher_is_better: bool) -> list[Tried]:
    """Return the history with what was left at a rung no better than the worst that went further."""
    worse, found = (min if higher_is_better else max), list(history)
    left = {t.rung for t in history if t.rung is not None}
    for rung in sorted(left, reverse=True):
        further = [t.value for t in found if t.value is not None and (t.rung is None or t.rung > rung)]
        for place, tried in enumerate(found):
            if tried.rung == rung and tried.value is not None and further:
                found[place] = replace(tried, value=worse([tried.value, *further]))
    return found


def _kept(parameter: Parameter, value: Any) -> int | float:
    return parameter.kept(value) if isinstance(parameter, Number) else int(value)


def _suggested(trial: "optuna.Trial", parameter: Parameter) -> Any:
    name, of = parameter.name, distribution(parameter)
    if hasattr(of, "choices"):
        return trial.suggest_categorical(name, of.choices)
    if isinstance(of, imported().distributions.IntDistribution):
        return trial.suggest_int(name, of.low, of.high, step=of.step, log=of.log)
    return trial.suggest_float(name, of.low, of.high, step=of.step, log=of.log)


def distribution(parameter: Parameter) -> Any:
    """Return what Optuna draws from."""
    of = imported().distributions
    if isinstance(parameter, Choice):
        if parameter.ordered:
            return of.IntDistribution(0, len(parameter.options) - 1)
        return of.CategoricalDistribution(list(parameter.values))
    if parameter.whole:
        step = int(parameter.step or 1)
        return of.IntDistribution(int(parameter.low), int(parameter.high), log=parameter.log, step=step)
    return of.FloatDistribution(parameter.low, parameter.high, log=parameter.log, step=parameter.step)


def imported() -> Any:
    """Return Optuna, silent.

    Raises:
        ConfigError: if it is not installed.
    """
    try:
        import optuna
    except ImportError as error:
        raise ConfigError('optbench tune needs Optuna: pip install "optbench[tune]"') from error
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna
