"""What the driver says of GPUs; it is stood in for by a library of C with the driver's own functions."""

from __future__ import annotations

import ctypes.util
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from indexes import gpu_use
from indexes.gpu_use import GpuUse

DRIVER = """
typedef struct { unsigned int gpu, memory; } rates;
typedef struct { unsigned long long total, free, used; } memory;
static int devices[2] = {7, 8};
int nvmlInit_v2(void) { return INIT; }
int nvmlDeviceGetCount_v2(unsigned int *count) { *count = 3; return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned int index, void **device) {
    if (index == 2) return 15;
    *device = &devices[index];
    return 0;
}
int nvmlDeviceGetUtilizationRates(void *device, rates *told) {
    if (!device) return 2;
    told->gpu = *(int *)device * 5;
    return 0;
}
int nvmlDeviceGetMemoryInfo(void *device, memory *told) {
    if (!device) return 2;
    told->total = 150000000000ULL; told->free = 1; told->used = 149999999999ULL;
    return 0;
}
"""


@pytest.fixture(autouse=True)
def asked_anew() -> Iterator[None]:
    gpu_use._library.cache_clear()  # pyright: ignore[reportPrivateUsage]
    yield
    gpu_use._library.cache_clear()  # pyright: ignore[reportPrivateUsage]


def driver(folder: Path, init: int) -> str:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler")
    (folder / "driver.c").write_text(DRIVER)
    made = folder / "libdriver.so"
    command = [compiler, "-shared", "-fPIC", f"-DINIT={init}", "-o", str(made), str(folder / "driver.c")]
    subprocess.run(command, check=True)
    return str(made)


def test_each_gpu_is_told_and_one_that_does_not_answer_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu_use, "LIBRARY", driver(tmp_path, init=0))
    assert gpu_use.gpu_use() == [
        GpuUse(0, 0.35, 149_999_999_999, 150_000_000_000),
        GpuUse(1, 0.40, 149_999_999_999, 150_000_000_000),
    ]


def test_a_driver_that_does_not_begin_or_is_not_there_tells_of_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu_use, "LIBRARY", driver(tmp_path, init=9))
    assert gpu_use.gpu_use() == []
    gpu_use._library.cache_clear()  # pyright: ignore[reportPrivateUsage]
    monkeypatch.setattr(gpu_use, "LIBRARY", str(tmp_path / "none.so"))
    assert gpu_use.gpu_use() == []


def test_a_library_of_another_age_tells_of_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_use, "LIBRARY", ctypes.util.find_library("c") or "libc.so.6")
    assert gpu_use.gpu_use() == []
