"""A job is claimed: found finished, or trained by the engine that it asks for while its lock is held."""

import time

from runner.run import record
from runner.run.job import Job
from runner.run.life import WAIT_SECONDS, Interruption, Outcome, begun_alone, finished, run_held
from runner.run.lock import holding
from runner.run.progress import Bar
from runner.run.stack import forget_ended, in_a_stack, run_stack
from runner.run.stackable import refuse


def run_job(
    job: Job, save: str = "last", interruption: Interruption | None = None, bar: bool = True, wait: bool = True
) -> Outcome | None:
    """Train a job to its end and record it, or return what a finished run found.

    Args:
        job: what to run.
        save: the weights kept where the config leaves it open: last, best or none.
        interruption: asks the run to stop after the step it is in, checkpointed.
        bar: show progress where stderr is a terminal.
        wait: where another process trains the run, wait for it; otherwise return None.

    Raises:
        ConfigError: for what cannot be run, before anything is written.
        RecordError: if the folder cannot be written.
    """
    if (summary := finished(job, save)) is not None:
        if not (job.folder.parent / "runs.csv").exists():
            record.rebuild_runs_csv(job.folder.parent)
        return Outcome(job, summary, trained=False)
    from runner.run.build import build

    interruption = interruption or Interruption()
    fused = job.config["engine"] == "fused" or (job.config["engine"] == "auto" and in_a_stack(job))
    if fused and not begun_alone(job):
        run = build(job)
        refuse(job, run)
        with Bar(run.steps, 0, job.folder.name, enabled=bar) as shown:

            def progress(share: float) -> None:
                shown.advance(round(share * run.steps), None)

            return run_stack([job], save, interruption, progress, wait)[0]
    run = build(job)
    while True:
        with record.writing(job.lock), holding(job.lock) as held:
            if held and (summary := finished(job, save)) is not None:  # while this process waited
                return Outcome(job, summary, trained=False)
            if held:
                outcome = Outcome(job, run_held(job, run, save, interruption, bar), trained=True)
                forget_ended(job.folder.parent)
                return outcome
        if not wait:
            return None
        time.sleep(WAIT_SECONDS)
        if not job.config["force"] and (summary := finished(job, save)) is not None:
            return Outcome(job, summary, trained=False)
