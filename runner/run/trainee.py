"""What is trained as one, a run by itself or a stack: begun anew, or as its newest whole checkpoint has it."""

import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from tqdm import tqdm

from runner.engine import checkpoint, fused, loop
from runner.engine.fused.members import Stack, resume, stack
from runner.engine.fused.parts import joined, taken
from runner.engine.fused.slices import in_order
from runner.engine.fused.watch import Events
from runner.engine.run import Run
from runner.engine.state import COUNTERS, State, start
from runner.errors import RecordError
from runner.run import files, packs
from runner.run.devices import led, tell
from runner.run.job import Job
from runner.run.outcome import asked
from runner.run.processor import layout_of

Pulse = Callable[[int, float | None], bool]
"""Called after each step with its number and, where it is known, its loss; True asks to stop there."""
UNLIKE = (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError)
"""What a checkpoint of another layout can raise."""


class Trainee(Protocol):
    """Runs that are trained as one."""

    jobs: Sequence[Job]
    """In the order of ``states``, as these were at first."""
    checkpoint: Path
    resumed_from: int | None
    """The step that a checkpoint had; None where it begins anew."""

    @property
    def states(self) -> Sequence[State]:
        """Of the runs that go on."""

    def train(self, pulse: Pulse) -> Iterator[Events]:
        """Train to the end of all, yielding at each evaluation what was found of each run."""

    def leave_ended(self) -> None:
        """Let runs that have ended go."""

    def content(self) -> dict[str, Any]:
        """Return what a checkpoint holds."""

    def apart(self) -> Iterator[tuple[Job, dict[str, Any]]]:
        """Yield of each member of a stack that goes on what a stack of it alone would save; of a run alone, nothing."""


class Alone:
    """A run that the reference engine trains."""

    def __init__(self, job: Job, state: State, resumed_from: int | None) -> None:
        self.jobs: Sequence[Job] = [job]
        self.resumed_from = resumed_from
        self.checkpoint = job.folder / "checkpoint.pt"
        self._state = state

    @property
    def states(self) -> list[State]:
        """The run, while it goes on."""
        return [self._state] if self._state.stop_reason is None else []

    def train(self, pulse: Pulse) -> Iterator[Events]:
        """Train it."""
        spread = self._state.spread

        def asked_to_stop(state: State, loss: float) -> bool:
            asked = pulse(state.step, loss)
            return asked if spread is None else spread.agreed(asked)

        rows = loop.train(self._state, asked_to_stop)
        for evaluation in rows if spread is None else led(spread, rows):
            yield [(self._state, evaluation)]

    def leave_ended(self) -> None:
        """Nobody else goes on."""

    def content(self) -> dict[str, Any]:
        """Return its state, and what was asked of its rows."""
        spread = self._state.spread
        tell(spread, "keep")
        held = self._state.state_dict()
        return {**(held if spread is None else spread.whole(held)), "asked": asked(self.jobs[0])}

    def apart(self) -> Iterator[tuple[Job, dict[str, Any]]]:
        """Go on from the run's own checkpoint."""
        return iter(())


class Together:
    """Runs that the fused engine trains."""

    def __init__(self, jobs: Sequence[Job], members: Stack, plan: Path) -> None:
        self.jobs, self.checkpoint = jobs, packs.checkpoint_of(plan)
        self.resumed_from = members.step if members.states[0].rows else None
        self._members = members
        self._job_of = {id(state): job for state, job in zip(members.states, jobs, strict=True)}
        for state in members.states:
            state.stack_size = len(jobs)

    @property
    def states(self) -> list[State]:
        """The members that go on."""
        return self._members.states

    def train(self, pulse: Pulse) -> Iterator[Events]:
        """Train them."""
        return fused.train(self._members, lambda step: pulse(step, None))

    def leave_ended(self) -> None:
        """Let members that have ended go."""
        self._members.leave_ended()

    def content(self) -> dict[str, Any]:
        """Return the stack's state, who is in it, and what was asked of their rows."""
        jobs = [self._job_of[id(state)] for state in self.states]
        return {**self._members.state_dict(), "run_ids": [job.run_id for job in jobs], "asked": asked(jobs[0])}

    def apart(self) -> Iterator[tuple[Job, dict[str, Any]]]:
        """Yield of each member that goes on what a stack of it alone would save."""
        content = self.content()
        for place, run_id in enumerate(content["run_ids"]):
            job = self._job_of[id(self.states[place])]
            yield job, {**taken(content, place), "run_ids": [run_id], "asked": content["asked"]}


def alone(job: Job, run: Run) -> Alone:
    """Return a run as its newest whole checkpoint has it that the rows on disk reach; or at step 0.

    A run that is now asked for other rows, or for best weights that were not kept so far, begins anew; so does one
    whose checkpoint another version laid out, which is named.
    """
    state, lines = _begun(job, run), _rows_on_disk(job, run)
    layout, now, unknown = state.state_dict(), asked(job), []
    place = job.folder / "checkpoint.pt"
    for path in (place, checkpoint.previous(place)):
        if not path.exists():
            continue
        try:
            saved = checkpoint.load(path)
        except RecordError:
            continue
        if saved.keys() >= checkpoint.INTERFACE:  # weights that a run was about to end with
            continue
        try:
            if saved.keys() != {*layout, "asked"} or not _alike(saved, layout) or len(saved["asked"]) != len(now):
                raise ValueError("another layout")
            if saved["asked"] == now and _reaches(saved, run, lines):
                tell(run.spread, "load", saved)
                state.load_state_dict(saved if run.spread is None else run.spread.part(saved, state))
                return Alone(job, state, state.step)
        except UNLIKE:
            state = _begun(job, run)
            unknown.append(path)
    for path in unknown[:1]:
        _name_unknown(path, "the run starts")
    return Alone(job, state, None)


def _begun(job: Job, run: Run) -> State:
    """Return a run at step 0, on all processes that train it."""
    tell(run.spread, "begin")
    state = start(run)
    if run.spread is None:
        state.lay_out(layout_of(job, state))
    return state


def together(jobs: Sequence[Job], runs: Sequence[Run], plan: Path, source: Path) -> Together:
    """Return jobs stacked, in the order of their stack: as it was saved, or as each was paused, where all can go on.

    Args:
        jobs: the members.
        runs: what they were built to.
        plan: where their plan is kept.
        source: the plan of a pack that they may go on from.
    """
    found = _places(jobs, runs, source)
    if len({place.key for place in found}) == 1 and found[0].kind != ANEW:
        order = in_order(runs) if found[0].kind == PAUSED else sorted(range(len(jobs)), key=lambda i: found[i].number)
        chosen = [runs[i] for i in order]
        try:
            if found[0].kind == PAUSED:
                saved, places = joined([found[i].saved for i in order], chosen), list(range(len(order)))
            else:
                saved, places = found[0].saved, [found[i].number for i in order]
            return Together([jobs[i] for i in order], resume(chosen, saved, places), plan)
        except UNLIKE:
            _name_unknown(packs.checkpoint_of(source), "its runs start")
    order = in_order(runs)
    return Together([jobs[i] for i in order], stack([runs[i] for i in order]), plan)


def parts(jobs: Sequence[Job], runs: Mapping[str, Run], plan: Path) -> list[tuple["Place", list[Job]]]:
    """Return jobs by where they go on: from a checkpoint that their stack left, as they were paused, or anew.

    Args:
        jobs: of one pack.
        runs: what they were built to, by run id.
        plan: where that pack's stack left its checkpoint, if it did.
    """
    found: dict[tuple[int, int], tuple[Place, list[Job]]] = {}
    for job, place in zip(jobs, _places(jobs, [runs[job.run_id] for job in jobs], plan, named=True), strict=True):
        found.setdefault(place.key, (place, []))[1].append(job)
    return [found[key] for key in sorted(found)]


STACKED, PAUSED, ANEW = range(3)
"""Where a member of a stack goes on: where its stack was, where it was paused itself, nowhere."""


@dataclass(frozen=True)
class Place:
    """Where a member of a stack goes on."""

    kind: int
    step: int = 0
    number: int = 0
    """The member's, in what was saved."""
    saved: dict[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> tuple[int, int]:
        """What members that go on together have in common."""
        return self.kind, self.step


def _places(jobs: Sequence[Job], runs: Sequence[Run], plan: Path, named: bool = False) -> list[Place]:
    """Return where each job goes on: in what is further of its stack's checkpoint and what it was paused with."""
    saved = _saved(packs.checkpoint_of(plan), jobs[0], named)
    return [
        _place(job, run, saved, _saved(packs.paused_of(job.folder), job, named))
        for job, run in zip(jobs, runs, strict=True)
    ]


def _place(job: Job, run: Run, *saved: dict[str, Any] | None) -> Place:
    found = Place(ANEW)
    for kind, held in zip((STACKED, PAUSED), saved, strict=True):
        if held is not None and _goes_on(job, run, held):
            number = held["run_ids"].index(job.run_id)
            step = int(held["members"][number]["counters"]["step"])
            found = Place(kind, step, number, held) if found.kind == ANEW or step >= found.step else found
    return found


def _saved(place: Path, member: Job, named: bool = False) -> dict[str, Any] | None:
    """Return the newest whole checkpoint of a stack, or None; one of another layout is ``named`` on stderr."""
    unknown = []
    for path in (place, checkpoint.previous(place)):
        with contextlib.suppress(RecordError):
            found = checkpoint.load(path)
            if _is_known(found, member):
                return found
            unknown.append(path)
    for path in unknown[:1] if named else ():
        _name_unknown(path, "its runs start")
    return None


def _is_known(saved: dict[str, Any], member: Job) -> bool:
    """Say whether the checkpoint of a stack, of which one member is given, is laid out as this version does it."""
    if saved.keys() != {"run_ids", "asked", "members", "weights", "slices", "hooks"}:
        return False
    return len(saved["asked"]) == len(asked(member)) and all(
        held.keys() == {"counters", "best_weights", "hooks", "optimizer"} and held["counters"].keys() == set(COUNTERS)
        for held in saved["members"]
    )


def _goes_on(job: Job, run: Run, saved: dict[str, Any]) -> bool:
    """Say whether a checkpoint holds a job, as it is now asked for, and its rows on disk reach as far."""
    if job.run_id not in saved["run_ids"] or saved["asked"] != asked(job):
        return False
    return _reaches(saved["members"][saved["run_ids"].index(job.run_id)], run, _rows_on_disk(job, run))


def _reaches(saved: Mapping[str, Any], run: Run, lines: int) -> bool:
    """Say whether what was saved of a run is all that it needs: rows on disk, and best weights where it keeps them."""
    lacks_best = run.keep_best and saved["best_weights"] is None and bool(saved["counters"]["best"])
    return bool(saved["counters"]["rows"] <= lines and not lacks_best)


def _rows_on_disk(job: Job, run: Run) -> int:
    """Return how many rows a run has that are laid out as it writes them: an older version measured less."""
    header, *rows = files.whole_lines(job.folder / "metrics.csv") or [""]
    return len(rows) if {f"val_{name}" for name in run.metrics} <= set(header.rstrip().split(",")) else 0


def _alike(saved: dict[str, Any], layout: dict[str, Any]) -> bool:
    """Say whether counters and hooks of a checkpoint are those that a run has now."""
    return all(saved[part].keys() == layout[part].keys() for part in ("counters", "hooks"))


def _name_unknown(path: Path, who: str) -> None:
    """Say on stderr which checkpoint cannot be gone on from, and ``who`` therefore does so again."""
    why = "it is of another version, or of other snapshots=…"
    tqdm.write(f"optbench: {path} cannot be resumed, as {why}: {who} again", file=sys.stderr)
