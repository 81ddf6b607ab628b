"""The contests that there are."""

from dataclasses import replace

from runner.study.contest import rules, workloads
from runner.study.contest.contenders import FIFTEEN, NEWER, OLDER
from runner.study.contest.plan import Contest

LENGTHS = (0.25, 0.5, 2.0, 4.0)

MODERN = Contest(
    "modern",
    rules.MODERN_FINDING,
    rules.MODERN_SOURCE,
    rules.MODERN_RULE,
    workloads.SIX,
    (*OLDER, *NEWER),
    ("cosine",),
    trials=16,
    tuning_seeds=(0, 1),
    seeds=tuple(range(100, 112)),
    budgets=(1, 16),
    lengths=LENGTHS,
    timed=True,
)
CROWDED = Contest(
    "crowded",
    rules.CROWDED_FINDING,
    rules.CROWDED_SOURCE,
    rules.CROWDED_RULE,
    (workloads.DIGITS_MLP, workloads.MNIST1D_MLP, workloads.MNIST1D_BN, workloads.DEEP_TANH),
    FIFTEEN,
    ("constant", "cosine"),
    trials=20,
    tuning_seeds=(0,),
    seeds=tuple(range(100, 112)),
    budgets=(1, 5, 20),
)
LARGE = replace(
    CROWDED,
    name="crowded-large",
    rule=rules.CROWDED_RULE.replace("20 trials", "80 trials"),
    workloads=(*CROWDED.workloads, workloads.MNIST1D_CNN, workloads.CHAR_GPT),
    schedules=("constant", "cosine", "wsd", "one_cycle"),
    trials=80,
    budgets=(1, 5, 20, 40, 80),
)
"""At most 50,400 runs."""
CONTESTS = (MODERN, CROWDED, LARGE)
