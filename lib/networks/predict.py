"""What a network says of many items: large batches without gradient, smaller ones where memory ends."""

import gc
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

# Items in a batch of evaluation. Images take far more memory in a network than features do; on a CPU, large batches of them
# do not fit its caches and are slower.
EVALUATION_BATCH = 8192
IMAGE_BATCH = {"cpu": 256, "cuda": 2048}


def predict(function: Callable[[Tensor], Tensor], x: Tensor, module: nn.Module) -> Tensor:
    """``function(x)`` in large batches, in smaller ones where memory does not suffice, with ``module`` in evaluation mode
    (restored afterwards) and no gradient."""
    size = IMAGE_BATCH.get(x.device.type, EVALUATION_BATCH) if x.dtype == torch.uint8 else EVALUATION_BATCH
    training = module.training
    module.eval()
    while True:
        try:
            with torch.no_grad():
                result = torch.cat([function(part) for part in x.split(size)])
            module.train(training)
            return result
        except RuntimeError as error:
            if not is_out_of_memory(error) or size == 1:
                raise
        release_memory(x.device)
        size = max(size // 4, 1)


def as_numpy(function: Callable[[Tensor], Tensor], x: Tensor, module: nn.Module) -> np.ndarray:
    """``function(x)`` in evaluation mode, on the module's device, as float64."""
    place = next(module.parameters()).device
    return predict(function, x.to(place), module).cpu().double().numpy()  # in this order: Apple's GPUs have no float64


def is_out_of_memory(error: BaseException) -> bool:
    """Whether it says that memory ended, on CUDA or on the CPU."""
    return isinstance(error, torch.OutOfMemoryError) or "DefaultCPUAllocator" in str(error)


def release_memory(device: torch.device) -> None:
    """Give back what failed attempts still hold."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
