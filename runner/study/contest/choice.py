"""What a budget of trials chooses, and what runs came to: functions of packed rows."""

import math

import numpy as np
import pandas as pd

from runner.statistics.scores import Array
from runner.study.contest.plan import FINAL, TRIAL
from runner.study.contest.workloads import EVALUATIONS

LAST = f"loss_{EVALUATIONS}"


def final_loss(runs: pd.DataFrame) -> Array:
    """Return runs' validation losses at their ends, infinite where a run diverged."""
    losses = pd.to_numeric(runs[LAST]).to_numpy(float)
    bad = (runs["status"] == "diverged").to_numpy(bool) | ~np.isfinite(losses)
    return np.where(bad, math.inf, losses)


def chosen(trials: pd.DataFrame, budget: int) -> tuple[int, tuple[str, ...]]:
    """Return the trial of the lowest mean final validation loss among the first ones, by its number and its setting.

    One that diverged with any seed comes last; of several alike the first is taken, so the defaults where all diverged.

    Args:
        trials: a part's rows.
        budget: how many trials are looked at.
    """
    first = trials[(trials["role"] == TRIAL) & (pd.to_numeric(trials["trial"]) < budget)]
    losses = pd.Series(final_loss(first), index=pd.to_numeric(first["trial"]).to_numpy(int)).groupby(level=0).mean()
    best = int(losses.index[int(np.argmin(losses.to_numpy(float)))])
    setting = str(first.loc[pd.to_numeric(first["trial"]) == best, "setting"].iloc[0])
    return best, tuple(setting.split())


def finals(part: pd.DataFrame, budget: int) -> pd.DataFrame:
    """Return the runs with fresh seeds of what a budget chose, in the order of their seeds."""
    trial, _ = chosen(part, budget)
    of_it = part[(part["role"] == FINAL) & (pd.to_numeric(part["trial"]) == trial)]
    return of_it.sort_values("seed")
