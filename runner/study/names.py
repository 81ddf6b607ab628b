"""The names of all studies, for completion: the studies themselves take seconds to import."""

NAMES = (
    *("relu-variance", "tanh-gain", "symmetry", "lsuv", "quadratic-rates", "divergence-threshold", "decay-forms"),
    *("orthogonal-linear", "adam-first-step", "amsgrad", "muon-orthogonal", "mup-transfer", "dying-relu"),
    *("smoothing-floor", "weight-variance", "sgd-step", "rmsprop-still"),
    *("decay-threshold", "optimizer-memory", "zeros-linear", "ema-rate", "early-decay", "cosine-fixed", "fan-mode"),
    *("momentum-rate", "effective-rate", "max-margin", "early-variance"),
    *("depth-30", "schedules", "adamw-decoupling", "decay-or-grow", "batch-scaling", "dropout"),
    *("edge-of-stability", "inclusion"),
    *("regularization", "augmentation", "dropout-cnn", "early-stopping"),
    *("ensemble-size", "bagging"),
    *("more-data", "wide-fast", "uniform-normal", "dropout-noise", "degradation", "double-descent"),
    *("mnist1d-numbers", "calibration", "gradual-pruning", "grokking"),
    *("generated", "winning-tickets", "lora-rank", "half-classes", "static-int8", "sam-sharpness"),
)
CONTESTS = ("modern", "crowded", "crowded-large")
"""Of optimizers, which take hours and are run in shards."""
