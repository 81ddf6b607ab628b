"""Random forests on any of optbench's tables and small pictures."""

from typing import Any

from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier

from runner.data import Samples


def train(config: dict[str, Any], seed: int, run: Any) -> None:
    """Fit one forest: a single step, with nothing to go on from."""
    settings, data = config["task"], run.data
    forest = RandomForestClassifier(
        settings["trees"],
        max_features=None if settings["features"] == "all" else settings["features"],
        min_samples_leaf=settings["leaf"],
        random_state=seed,
    )
    forest.fit(flat(data.train), data.train.y)
    run.row(
        step=1,
        train_accuracy=forest.score(flat(data.train), data.train.y),
        val_accuracy=forest.score(flat(data.val), data.val.y),
    )
    run.finish(test_accuracy=forest.score(flat(data.test), data.test.y))


def flat(samples: Samples) -> NDArray[Any]:
    """Return inputs as a table, ``[n, features]``."""
    return samples.x.reshape(len(samples), -1)
