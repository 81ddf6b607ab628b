"""A loss that knows its inputs: the prediction shall not fall where the body mass index rises."""

import torch
from torch import Tensor

BMI = 2
"""The column of scikit-learn's diabetes table."""


def rising(outputs: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """Return the mean squared error, and a penalty on pairs of neighbours that fall as BMI rises.

    ``outputs`` and ``y`` are ``[n, 1]``, ``x`` is ``[n, 10]``; the pairs are neighbours by BMI.
    """
    order = x[:, BMI].argsort()
    falls = torch.relu(outputs[order][:-1] - outputs[order][1:])
    return (outputs - y).square().mean() + 0.1 * falls.square().mean()
