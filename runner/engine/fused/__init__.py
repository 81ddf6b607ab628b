"""The fused engine: runs that differ in numbers alone, trained as one step.

The runs' weights are stacked ``[runs, …]`` and are the leaves of one graph; the loss is the sum of every run's mean
loss, so each gets its own gradient. Each run's model keeps views of its part of the stack: what the reference engine
does with one run (checkpoints, the best weights, the test) it does with a member of a stack as well.

Where an update is linear in the learning rate, one unmodified optimizer steps many runs with a rate of 1, and each
goes its own rate's share of the way. Other optimizers step each run's views by themselves.

``torch.autograd.grad`` would give gradients of other strides than their weights', with which PyTorch's fused
optimizers compute wrong updates; ``.backward()`` into leaves does not, nor do gradients that are written out.
"""

from runner.engine.fused.loop import graph_of, train
from runner.engine.fused.refusal import refusal

__all__ = ["graph_of", "refusal", "train"]
