"""Fine-tuning: which of a model's weights are trained, in what form, how fast; an option's function returns a hook."""

from runner.finetune.adapters import adapter
from runner.finetune.low_rank import lora
from runner.finetune.partly import bitfit, head, layers
from runner.finetune.rates import discriminative
from runner.finetune.thawing import gradual

__all__ = ["adapter", "bitfit", "discriminative", "gradual", "head", "layers", "lora"]
