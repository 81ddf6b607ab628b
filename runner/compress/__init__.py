"""Compression in training: each option's function returns a hook of the engine's; any number may be combined."""

from runner.compress.factors import low_rank
from runner.compress.fake_quantized import quantize
from runner.compress.prune_structured import prune_structured
from runner.compress.pruning import prune, prune_once
from runner.compress.tickets import ticket

__all__ = ["low_rank", "prune", "prune_once", "prune_structured", "quantize", "ticket"]
