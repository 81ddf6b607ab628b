"""How long planning a sweep takes: compose, validate and name every job, with Hydra's own composition beside it.

python scripts/bench_compose.py [--jobs 1000] [--hydra-jobs 20]
"""

import argparse
import os
import tempfile
import time

from hydra.types import RunMode

from runner.config.compose import Composer, start_hydra
from runner.sweep.plan import plan


def main() -> None:
    """Measure and print milliseconds a job."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--hydra-jobs", type=int, default=20)
    arguments = parser.parse_args()
    os.chdir(tempfile.mkdtemp())
    loader = start_hydra().config_loader
    composer = Composer.of(loader)
    seeds = ",".join(map(str, range(arguments.jobs // 20)))
    lrs = "1e-4,1e-3,1e-2,1e-1,1"
    jobs = composer.expand(["init=he,xavier", "optim=sgd,adamw", f"optim.lr={lrs}", f"seed={seeds}"])
    plan(composer, jobs[:1])  # imports and data, which every run pays once
    began = time.perf_counter()
    planned = plan(composer, jobs)
    ours = (time.perf_counter() - began) / len(planned)
    began = time.perf_counter()
    few = jobs[:: max(1, len(jobs) // arguments.hydra_jobs)]
    for job in few:
        loader.load_configuration("config", job, RunMode.RUN)
    hydra = (time.perf_counter() - began) / len(few)
    print(f"{len(planned)} jobs composed, validated and named: {1e3 * ours:.1f} ms a job")
    print(f"Hydra's own composition, without any check: {1e3 * hydra:.0f} ms a job")


if __name__ == "__main__":
    main()
