"""When a contest's finding counts as reproduced: fixed before the runs."""

MODERN_FINDING = (
    "Against AdamW tuned at an equal budget, the speed-ups that newer optimizers were published with are smaller"
)
MODERN_SOURCE = "Wen et al. 2025"
LEAST_CLAIMS, LEAST_WORKLOADS = 4, 3
"""With fewer there is no verdict."""
MOST_SHRINK, FEW_SHRINK = 0.75, 0.5
MODERN_RULE = (
    "Every optimizer at the best of 16 trials on 2 seeds, its defaults and a Latin hypercube of its default ranges, is "
    "judged on 12 fresh seeds. Its speed-up is the length at which AdamW, at the best of as many trials, ends at the "
    "same validation loss, over its own (AdamW was run at ¼, ½, 1, 2 and 4 times the length): the geometric mean over "
    "workloads, with a 95 % interval of drawing seeds anew. Reproduced if that interval lies below the claimed factor "
    "for 75 % or more of the optimizers that claim one, not reproduced if for fewer than 50 %; with fewer than 4 "
    "claims or 3 workloads there is no verdict"
)

CROWDED_FINDING = "Several optimizers at their defaults do about as well as one that is tuned"
CROWDED_SOURCE = "Schmidt et al. 2021"
MARGIN = 1.0
"""Points of test accuracy."""
CROWDED_RULE = (
    "On each workload and schedule the best of 15 optimizers at their defaults, chosen on validation with one seed, "
    "and AdamW at the best of 20 trials, chosen alike, are run with 12 fresh seeds. Reproduced if the 95 % interval of "
    "the difference of their test accuracies, seed by seed, averaged over workloads and schedules, lies within ± 1 "
    "point, not reproduced if all of it lies outside; fewer than 3 workloads: no verdict"
)
