"""Compression in training: each option's function returns a hook of the engine's; any number may be combined."""

from runner.compress.factors import low_rank
from runner.compress.fake_quantized import qat
from runner.compress.pruning import gradual, magnitude
from runner.compress.structured import structured

__all__ = ["gradual", "low_rank", "magnitude", "qat", "structured"]
