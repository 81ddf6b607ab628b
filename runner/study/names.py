"""The names of all studies, for completion: the studies themselves take seconds to import."""

NAMES = (
    *("relu-variance", "tanh-gain", "symmetry", "lsuv", "quadratic-rates", "divergence-threshold", "decay-forms"),
    *("orthogonal-linear", "adam-first-step", "amsgrad", "muon-orthogonal", "mup-transfer", "dying-relu"),
    *("smoothing-floor", "weight-variance", "sgd-step", "rmsprop-still"),
    *("depth-30", "schedules", "adamw-decoupling", "decay-or-grow", "batch-scaling", "dropout"),
    *("edge-of-stability", "inclusion"),
    *("regularization", "augmentation", "dropout-cnn", "early-stopping"),
    *("ensemble-size", "bagging"),
    "generated",
)
