"""How busy this machine's GPUs are and how much of their memory is taken, as NVIDIA's driver says (NVML)."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

LIBRARY = "libnvidia-ml.so.1"
_DONE = 0
_UNLIKELY = 64
"""A driver that lists more GPUs is not believed."""


@dataclass(frozen=True)
class GpuUse:
    """One GPU at one moment, whoever uses it: `busy` is the share of the last moments in which it computed, 0..1."""

    number: int
    busy: float
    used_bytes: int
    total_bytes: int


class _Utilization(ctypes.Structure):
    _fields_ = (("gpu", ctypes.c_uint), ("memory", ctypes.c_uint))  # per cent


class _Memory(ctypes.Structure):
    _fields_ = (("total", ctypes.c_ulonglong), ("free", ctypes.c_ulonglong), ("used", ctypes.c_ulonglong))


def gpu_use() -> list[GpuUse]:
    """The GPUs by number; empty where there is none or the driver does not say. Takes well below a millisecond."""
    library = _library()
    return list(_told(library)) if library is not None else []


@cache
def _library() -> Any:
    """The driver's own library, opened once a process; None where it is not installed or does not begin."""
    try:
        library: Any = ctypes.CDLL(LIBRARY)
        return library if library.nvmlInit_v2() == _DONE else None
    except (OSError, AttributeError):  # an AttributeError is a library older than these functions
        return None


def _told(library: Any) -> Iterator[GpuUse]:
    count = ctypes.c_uint(0)
    if library.nvmlDeviceGetCount_v2(ctypes.byref(count)) != _DONE or count.value > _UNLIKELY:
        return
    for number in range(count.value):
        device, rates, memory = ctypes.c_void_p(), _Utilization(), _Memory()
        said = (
            library.nvmlDeviceGetHandleByIndex_v2(ctypes.c_uint(number), ctypes.byref(device)),
            library.nvmlDeviceGetUtilizationRates(device, ctypes.byref(rates)),
            library.nvmlDeviceGetMemoryInfo(device, ctypes.byref(memory)),
        )
        if not any(said):  # a slice of a GPU tells no rates
            yield GpuUse(number, rates.gpu / 100, memory.used, memory.total)
