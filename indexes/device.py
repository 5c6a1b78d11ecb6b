"""Where vectors are computed, on a GPU or the CPU: one decision for embedding, building and serving alike."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Literal, get_args

from semantic_layer.errors import EngineUnavailable, InvalidArgument

Device = Literal["auto", "cpu", "gpu"]
"""What is asked for; `auto` takes a GPU that is there."""

Processor = Literal["cpu", "gpu"]


def choose_device(asked: str, usable: Callable[[], bool] | None = None) -> Processor:
    """`gpu` where it is asked for, or `auto`, and a CUDA device answers; else `cpu`.

    `usable` says whether the library that would compute there can: one is built for it, another is not. Raises
    InvalidArgument for another word, and EngineUnavailable when a GPU is asked for and none answers or can be used.
    """
    if asked not in get_args(Device):
        raise InvalidArgument(f"device {asked!r} is not one of auto, cpu, gpu.", hint="Use device: auto.")
    if asked == "cpu":
        return "cpu"
    answers = cuda_devices() > 0
    if answers and (usable is None or usable()):
        return "gpu"
    if asked == "auto":
        return "cpu"
    why = "a library here cannot use the one that answers" if answers else "no CUDA device answers on this machine"
    raise EngineUnavailable(
        f"a GPU was asked for (device: gpu), and {why}.",
        hint="Set device: auto or cpu, or see that `nvidia-smi` lists a device here and that faiss-gpu is installed.",
    )


def cuda_devices() -> int:
    """How many the driver itself lists: torch would take seconds to import, and is not imported in a server."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int(0)
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return 0
    return count.value
