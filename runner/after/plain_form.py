"""A trained model in the form in which it is used."""

import copy

from torch.nn.utils import parametrize

from runner.compress import fake_quantized
from runner.run.load import Trained


def plain(model: Trained) -> Trained:
    """Return a trained model whose weights have no other form: parts are summed up, roundings left out."""
    found = copy.deepcopy(model)
    for module in list(found.modules()):
        if parametrize.is_parametrized(module):
            for name in list(module.parametrizations):  # type: ignore[arg-type]
                parametrize.remove_parametrizations(module, name)
    if any(type(m).__module__.startswith("torchao.") for m in found.modules()):
        fake_quantized.plain(found.network)
    return found
