"""The life of runs that are trained as one, a run by itself or a stack: resumed, trained, recorded, concluded.

Every run has its own folder, summary and row. What happens to one member of a stack costs that member alone.
"""

import contextlib
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from runner.errors import OptbenchError, ProcessError, RecordError
from runner.run import files, packs, record, validation
from runner.run.devices import losses_named
from runner.run.job import Job
from runner.run.outcome import asked, outdated
from runner.run.process import Interruption, threads_for, torch_settings
from runner.run.progress import Progress
from runner.run.record import Recorder

if TYPE_CHECKING:
    from torch import Tensor

    from runner.engine.fused.watch import Events
    from runner.engine.run import Run
    from runner.engine.state import State
    from runner.run.trainee import Trainee


class Life:
    """What is asked of the runs that one process trains, and what has become of them."""

    def __init__(self, runs: "Mapping[str, Run]", save: str, interruption: Interruption, progress: Progress) -> None:
        """Prepare.

        Args:
            runs: what jobs were built to, by run id.
            save: the weights kept where a config leaves it open: last, best or none.
            interruption: asks to stop after the step that is under way, checkpointed.
            progress: told how far the runs are.
        """
        self._runs, self._save, self._interruption, self._progress = runs, save, interruption, progress
        self.summaries: dict[str, dict[str, Any]] = {}
        """By run id."""
        self._recorders: dict[str, Recorder] = {}
        self._along: frozenset[str] = frozenset()

    def alone(self, job: Job) -> None:
        """Train a job, whose lock is held, by the reference engine, or by a function of the user's own.

        Raises:
            OptbenchError: if its folder cannot be written.
        """
        self._recorders[job.run_id] = Recorder(job)
        _make_room(job)
        try:
            with self._interruption.listening(), torch_settings(job):
                if job.is_own:
                    self._call(job)
                else:
                    from runner.run.trainee import alone

                    with losses_named(self._runs[job.run_id]):
                        self._train(alone(job, self._runs[job.run_id]), {})
        except ProcessError as error:
            self._end(job, {"status": "interrupted", "stop_reason": str(error), "run_id": job.run_id})
            raise
        except OptbenchError:
            with contextlib.suppress(RecordError):  # what could not be written was said
                self._recorders[job.run_id].let_go()
            raise
        except (Exception, SystemExit) as error:  # a user's part may end in sys.exit
            self._end(job, self._recorders[job.run_id].fail(error))

    def _call(self, job: Job) -> None:
        """Train a job by a function of the user's own."""
        from runner.run import own_task

        recorder = self._recorders[job.run_id]
        run = own_task.begin(job, recorder, self._interruption)
        record.update_runs_csv([(job, {"status": "running", **job.of_data})])
        with self._progress.of(job.folder.name, None, run.last_step) as shown:
            summary = own_task.call(run, shown)
        self._end(job, summary)
        if summary["status"] in files.FINISHED:
            own_task.clear(run)

    def together(self, jobs: Sequence[Job], plan: Path, source: Path, along: Collection[str] = ()) -> None:
        """Train jobs, whose locks are held, as a stack.

        If a stack runs out of memory, it is split in two; if anything else raises, each run is trained by itself.

        Args:
            jobs: the members.
            plan: where their plan and checkpoint are kept.
            source: the plan of a pack that they may go on from.
            along: ids of members that are trained so that the stack is what it was, and leave no record.
        """
        self._along |= frozenset(along)
        self._recorders |= {job.run_id: Recorder(job) for job in self._recorded(jobs)}
        try:
            with self._interruption.listening(), torch_settings(jobs[0]):
                self._train_together(jobs, plan, source)
            return
        except OptbenchError as error:  # of what all of them need
            for job in self._recorded(jobs):
                self._lose(job, error)
            return
        except (Exception, SystemExit) as error:  # a user's part may end the process
            if len(jobs) == 1:
                self._end(jobs[0], self._recorders[jobs[0].run_id].fail(error))
                return
            from runner.engine.memory import is_out_of_memory

            halved, said = is_out_of_memory(error), f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        self._apart(jobs, plan, source, halved, said)  # only here nothing holds the stack's memory any more

    def _train_together(self, jobs: Sequence[Job], plan: Path, source: Path) -> None:
        from runner.run.trainee import together

        for job in self._recorded(jobs):
            with self._costing(job):
                _make_room(job)
        if not self._recorded(ours := self._left(jobs)):
            return
        trainee = together(ours, [self._runs[job.run_id] for job in ours], plan, source)
        packs.write(plan, packs.of(ours, packs.read(source).whole))
        self._train(trainee, {id(s): j for s, j in zip(trainee.states, trainee.jobs, strict=True)})
        became = {self.summaries[job.run_id]["status"] for job in self._recorded(ours)}
        if became <= set(files.ENDED):
            packs.forget(plan)
        elif became <= {*files.ENDED, "paused"}:
            packs.forget_checkpoint(plan)

    def _apart(self, jobs: Sequence[Job], plan: Path, source: Path, halved: bool, reason: str) -> None:
        """Train in two halves, or each by itself, jobs that could not be trained together."""
        said = "in two halves" if halved else "each by itself"
        tqdm.write(f"optbench: a stack of {len(jobs)} runs raised {reason}; they go on {said}", file=sys.stderr)
        for job in self._recorded(jobs):
            self._recorders[job.run_id].let_go()
        left = self._left(jobs)
        found = (left[: len(left) // 2], left[len(left) // 2 :]) if halved else [[job] for job in left]
        divided = [part for part in found if self._recorded(part)]
        if halved:  # both before either is trained: a kill leaves them halved
            for part in divided:
                packs.write(packs.plan_of(part), packs.of(part, packs.read(source).whole))
        for part in divided:
            if halved or part[0].config["engine"] == "fused":
                self.together(part, packs.plan_of(part), source)
            else:
                with self._costing(part[0]):
                    self.alone(part[0])
        packs.forget(plan)

    def _left(self, jobs: Sequence[Job]) -> list[Job]:
        return [job for job in jobs if job.run_id not in self.summaries]

    def _recorded(self, jobs: Iterable[Job]) -> list[Job]:
        """Return those of some jobs that are not trained along alone."""
        return [job for job in jobs if job.run_id not in self._along]

    def _train(self, trainee: "Trainee", members: Mapping[int, Job]) -> None:
        """Train to the end, or until the runs are asked to stop: then they are kept where they are.

        Args:
            trainee: what is trained.
            members: the jobs of a stack, by their states' ids; empty of a run by itself.
        """
        from runner.engine.checkpoint import Keeper
        from runner.run.summary import reset_peak_memory

        steps, keeper = trainee.states[0].steps, Keeper(trainee.checkpoint)
        self._job_of = members or {id(trainee.states[0]): trainee.jobs[0]}
        self._is_stack, self._resumed_from = bool(members), trainee.resumed_from
        _settle_threads(trainee)
        reset_peak_memory(trainee.states[0].run.device)
        if trainee.resumed_from is None:
            for job in self._recorded(trainee.jobs):
                with self._costing(job):
                    record.keep_paused(job.folder)
        for state in self._recorded_states(trainee):
            with self._costing(self._job_of[id(state)], state):
                self._recorder(state).open(rows_kept=state.rows)
        trainee.leave_ended()
        if not (going := [self._job_of[id(state)] for state in self._recorded_states(trainee)]):
            return  # none could write its folder
        record.update_runs_csv([(j, {"status": "running", **j.of_data}) for j in going])
        pause_at = going[0].config["pause_at"]
        paused = self._resumed_from is not None and _is_to_pause(trainee, pause_at)
        name = f"{len(members)} runs" if len(members) > 1 else going[0].folder.name
        with self._progress.of(name, steps, trainee.resumed_from or 0) as shown:

            def pulse(step: int, loss: float | None) -> bool:
                shown.stepped(step, loss)
                return self._interruption.requested

            for found in () if paused else trainee.train(pulse):
                self._record(found)
                trainee.leave_ended()  # those whose records could not be written
                shown.evaluated(found[0][1].row if found else {})
                paused = _is_to_pause(trainee, pause_at)
                if self._interruption.requested or paused or not self._recorded_states(trainee):
                    break
                if keeper.is_due():
                    keeper.keep(trainee.content)
        if self._recorded_states(trainee):
            keeper.keep(trainee.content)
            paused = paused and not self._interruption.requested
            if paused and members:
                self._keep_apart(trainee)
            self._stop(trainee, "paused" if paused else "interrupted")

    def _recorded_states(self, trainee: "Trainee") -> "list[State]":
        return [state for state in trainee.states if self._job_of[id(state)].run_id not in self._along]

    def _keep_apart(self, trainee: "Trainee") -> None:
        """Write what each member of a stack goes on from into its own folder: it may do so with other members."""
        from runner.engine import checkpoint

        for state, (job, content) in zip(trainee.states, trainee.apart(), strict=True):
            if job.run_id not in self._along:
                with self._costing(job, state):
                    checkpoint.save(place := packs.paused_of(job.folder), content)
                    checkpoint.remove(place, keep_newest=True)
        trainee.leave_ended()  # those whose part could not be written

    def _record(self, found: "Events") -> None:
        """Write what an evaluation found of each run, and the summaries of those that have ended."""
        ended = []
        for state, evaluation in found:
            job = self._job_of[id(state)]
            if job.run_id in self._along:
                continue
            recorder = self._recorder(state)
            with self._costing(job, state):
                recorder.row(evaluation.row, evaluation.layers)
                if state.stop_reason is not None:
                    save = job.config["save"] or self._save
                    summary = conclude(job, state, recorder, evaluation.row, save, self._resumed_from)
                    recorder.close(summary)
                    _clear_checkpoints(recorder, summary)
                    self.summaries[job.run_id] = summary
                    ended.append((job, summary))
        record.update_runs_csv(ended)

    def _recorder(self, state: "State") -> Recorder:
        return self._recorders[self._job_of[id(state)].run_id]

    def _stop(self, trainee: "Trainee", status: str) -> None:
        """Write the summaries of runs that are kept where they are."""
        from runner.run.summary import environment

        stopped = []
        for state in self._recorded_states(trainee):
            job = self._job_of[id(state)]
            summary: dict[str, Any] = {"status": status, "stop_reason": status, "steps": state.step}
            summary |= {"asked": asked(job)} if status == "paused" else {}
            summary |= environment(job, state.run, state.stack_size)
            self.summaries[job.run_id] = summary
            with self._costing(job, state):
                self._recorders[job.run_id].close(summary)
                stopped.append((job, summary))
        record.update_runs_csv(stopped)

    def _end(self, job: Job, summary: dict[str, Any]) -> None:
        self.summaries[job.run_id] = summary
        self._recorders[job.run_id].close(summary)
        record.update_runs_csv([(job, summary)])

    @contextlib.contextmanager
    def _costing(self, job: Job, state: "State | None" = None) -> Iterator[None]:
        """Let a record that cannot be written cost its own run alone, where it is one of several: the state ends."""
        try:
            yield
        except RecordError as error:
            if state is not None and not self._is_stack:
                raise
            self._lose(job, error)
            if state is not None:
                state.stop_reason = str(error)

    def _lose(self, job: Job, error: OptbenchError) -> None:
        lost = {"status": "failed", "stop_reason": str(error), "run_id": job.run_id}
        self.summaries.setdefault(job.run_id, lost)


def _make_room(job: Job) -> None:
    """Move what lies in a run's place aside; a finished run that is trained again is named."""
    earlier = files.read_summary(job.folder)
    if earlier is not None and earlier["status"] in files.FINISHED and (reason := outdated(job, earlier)):
        said = f"optbench: {job.folder} is trained again, the old one kept in .old/: {reason}"
        tqdm.write(said, file=sys.stderr)
    record.make_room(job.folder, job.config["force"])


def _is_to_pause(trainee: "Trainee", pause_at: int | None) -> bool:
    """Say whether runs, which may have gone on from there, are at an evaluation from which on they are paused."""
    if pause_at is None or not trainee.states:
        return False
    first = trainee.states[0]
    return first.step >= pause_at and first.loss_count == 0


def _settle_threads(trainee: "Trainee") -> None:
    """Train small networks on one CPU thread, unless a number was asked for."""
    import torch

    from runner.run.flops import step_flops

    state = trainee.states[0]
    if state.run.device.type == "cpu" and torch.get_num_threads() > 1:
        step = step_flops(state) * len(trainee.jobs)
        torch.set_num_threads(threads_for(trainee.jobs[0], step))


def _clear_checkpoints(recorder: Recorder, summary: dict[str, Any]) -> None:
    """Remove what a finished run went on from: only now, as a kill before its summary was written needs it."""
    if summary["status"] in files.FINISHED:
        from runner.engine import checkpoint

        checkpoint.remove(recorder.checkpoint, keep_newest=summary["saved"] != "none")


def conclude(
    job: Job, state: "State", recorder: Recorder, row: dict[str, Any], save: str, resumed_from: int | None
) -> dict[str, Any]:
    """Test a run that has ended, keep the weights asked for, and return its summary."""
    from runner.engine.diagnostics import findings
    from runner.engine.measure import finish
    from runner.run.summary import size_of, summarize

    outputs: list[Tensor] = []
    measured = finish(state, outputs.append)
    size = size_of(state)
    for of_validation in outputs:
        recorder.validation(validation.found(state.run, of_validation))
    saved = _save_weights(recorder, state, save)
    summary = summarize(job, state, row, measured, size)
    summary |= {"resumed_from_step": resumed_from, "saved": saved, "steps_per_epoch": state.run.steps_per_epoch}
    summary |= {"eval_every": job.config["eval_every"], "diagnostics": job.config["diagnostics"]}
    if job.config["diagnostics"]:
        summary |= findings(files.read_csv(recorder.folder / "layers.csv"))
    if job.config["sharpness"]:
        summary["final_sharpness"] = row["sharpness"]
    return summary


def _save_weights(recorder: Recorder, state: "State", save: str) -> str:
    """Put the weights asked for in the checkpoint's place, the resume state kept beside; return what was saved."""
    from runner.engine import checkpoint
    from runner.engine.snapshots import Snapshots
    from runner.run.summary import kept_weights

    weights = kept_weights(state, save)
    if weights is None:
        return "none"
    kept = state.hooks.get("snapshots")
    earlier = {"snapshots": kept.kept} if isinstance(kept, Snapshots) else {}
    checkpoint.save(recorder.checkpoint, {"model": weights, **earlier, **state.run.interface})
    return save
