"""What optimizers are held against each other on: small enough that a run takes less than a second or a few."""

from dataclasses import dataclass

EVALUATIONS = 11
"""Of a run, beside the one before training: what is kept of it."""


@dataclass(frozen=True)
class Workload:
    """Data, a model and a length."""

    name: str
    overrides: tuple[str, ...]
    steps: int
    """A multiple of ``EVALUATIONS``."""
    seconds: float
    """Of one thread that a run takes about, measured (``docs/modern.md``): what shards are divided by."""


_MNIST1D = ("data=mnist1d", "batch.size=64")
DIGITS_MLP = Workload(
    "digits-mlp",
    ("data=digits", "batch.size=64", "model=mlp", "model.width=32", "model.depth=2", "init=he"),
    440,
    0.06,
)
MNIST1D_BN = Workload(
    "mnist1d-bn",
    (*_MNIST1D, "model=mlp", "model.width=48", "model.depth=2", "model.normalization=batch", "init=he"),
    440,
    0.07,
)
MNIST1D_MLP = Workload(
    "mnist1d-mlp",
    (*_MNIST1D, "model=mlp", "model.width=48", "model.depth=2", "init=he"),
    440,
    0.07,
)
MNIST1D_CNN = Workload(
    "mnist1d-cnn",
    (*_MNIST1D, "model=cnn", "model.width=8", "model.depth=2", "init=he"),
    330,
    0.7,
)
CHAR_GPT = Workload(
    "char-gpt",
    (
        *("data=text", "data.characters=30000", "data.context=32", "batch.size=16"),
        *("model=gpt", "model.width=32", "model.depth=1", "model.heads=2", "init=default"),
    ),
    220,
    1.0,
)
DEEP_TANH = Workload(
    "deep-tanh",
    (*_MNIST1D, "model=mlp", "model.width=24", "model.depth=8", "model.activation=tanh", "init=xavier"),
    440,
    0.15,
)
ILL_CONDITIONED = Workload(
    "ill-conditioned",
    (
        *("data=custom", "data.target=runner.study.parts.ill_conditioned", "data.normalize=none"),
        *("model=linear", "init=normal", "init.std=0.01", "loss=mse", "batch.size=64"),
    ),
    440,
    0.04,
)
SIX = (DIGITS_MLP, MNIST1D_BN, MNIST1D_CNN, CHAR_GPT, DEEP_TANH, ILL_CONDITIONED)
