"""Which numbers a model of texts is multiplied in: half precision where the device has instructions for it.

Before this stands a model as it was loaded, in float32; after it `embedder` and `reranker` run it under `computing`.
Only the weights of linear layers are kept and multiplied in fewer bits, with sums in float32. Layer norms, the residual
stream, pooling and the last normalisation stay in float32, which keeps a vector's cosine to that of float32 above
0.9999 (the same model converted as a whole falls to 0.996) at the same speed: `benchmarks.embedding`.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

_BFLOAT16_ON_X86 = ("avx512_bf16", "amx_bf16")


def best(device: str) -> Any:
    """The torch dtype to multiply in on a device (`cpu` or `cuda:N`); float32 where nothing shorter is quicker.

    A GPU gets float16, which has three bits more than bfloat16. Without instructions of its own a CPU would only
    convert back and forth.
    """
    import torch

    if device.startswith("cuda"):
        return torch.float16
    able = torch.cpu.get_capabilities()
    return torch.bfloat16 if any(able.get(name, False) for name in _BFLOAT16_ON_X86) else torch.float32


def shorten(model: Any, dtype: Any) -> None:
    """Keep the weights of the linear layers of a torch module in `dtype`, so that no call has to convert them."""
    import torch

    for module in model.modules():
        if isinstance(module, torch.nn.Linear):
            module.to(dtype)


def computing(device: str, dtype: Any) -> AbstractContextManager[Any]:
    """Within it, a model that was shortened to `dtype` can be called."""
    import torch

    if dtype == torch.float32:
        return nullcontext()
    context: AbstractContextManager[Any] = torch.autocast(device.partition(":")[0], dtype=dtype)
    return context
