"""Runs whose weights this one looks at: on sentences they must know the same words by the same numbers."""

from pathlib import Path

from runner.config.check import leaves
from runner.data import Data
from runner.engine import checkpoint
from runner.errors import ConfigError, RecordError
from runner.run.job import Job
from runner.run.load import vocabulary_of


def refuse_other_words(job: Job, data: Data) -> None:
    """Refuse weights of another run whose vocabulary is not that of this one's training part.

    Raises:
        ConfigError: naming the key.
    """
    values = leaves(job.config)
    for key, setting in job.known.settings.items():
        run = values.get(key)
        if data.vocabulary is None or not setting.a_run or run is None:
            continue
        try:
            known = vocabulary_of(checkpoint.load_weights(Path(run).expanduser() / "checkpoint.pt"))
        except RecordError:  # whoever takes the weights says so
            continue
        if known is None or (known.splitting, known.tokens) != (data.vocabulary.splitting, data.vocabulary.tokens):
            raise ConfigError(
                f"{key}={run} was trained with another vocabulary, as its training samples were others: "
                "its numbers mean other words; give both runs one split of the same data"
            )
