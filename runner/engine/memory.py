"""What a step holds of memory, and how a lack of it shows."""

import torch

COPIES = 5
"""Of a run's weights: themselves, gradients, two moments, and the weights before the step."""
OUTSIDE_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")


def is_out_of_memory(error: BaseException) -> bool:
    """Say whether an error is the device's or the machine's lack of memory."""
    said = str(error).lower()
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and any(words in said for words in OUTSIDE_OF_MEMORY)
    )
