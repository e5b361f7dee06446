"""What a computer can compute with: devices, their precision and their memory."""

import ctypes
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch

from napari_unet.core.memory import available_memory

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h of glibc
T = TypeVar("T")


def choose_device(name: str = "auto") -> torch.device:
    """Return the device of that name; "auto" is the fastest that there is.

    Raises
    ------
    ValueError
        If the name is unknown or this computer has no such device.

    Examples
    --------
    >>> choose_device("cpu")
    device(type='cpu')
    """
    present = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    there = [device for device, is_there in present.items() if is_there]
    if name != "auto" and name not in there:
        raise ValueError(f"device is {name!r}, which is not here: choose one of auto, {', '.join(there)}")
    return torch.device(there[0] if name == "auto" else name)


def describe_device(device: torch.device) -> str:
    """Name a device for people.

    Examples
    --------
    >>> describe_device(torch.device("mps"))
    'Apple GPU'
    """
    if device.type == "mps":
        return "Apple GPU"
    if device.type == "cuda":
        memory = torch.cuda.get_device_properties(device).total_memory
        return f"{torch.cuda.get_device_name(device)}, {memory / 2**30:.0f} GB"
    n_threads = torch.get_num_threads()
    return f"CPU, {n_threads} thread{'s' * (n_threads > 1)}{', bf16' * computes_bf16(device)}"


def choose_precision(device: torch.device, precision: str = "auto") -> torch.dtype:
    """Return the type in which a network computes on a device.

    Parameters
    ----------
    device : torch.device
        Where it computes.
    precision : {"auto", "fp32", "bf16"}
        "auto" is bf16 where the hardware computes it: half the time and the memory.

    Raises
    ------
    ValueError
        If the precision is unknown.

    Examples
    --------
    >>> choose_precision(torch.device("cpu"), "fp32")
    torch.float32
    """
    if precision == "auto":
        return torch.bfloat16 if computes_bf16(device) else torch.float32
    if precision not in DTYPES:
        raise ValueError(f"precision is {precision!r}: choose one of auto, {', '.join(DTYPES)}")
    return DTYPES[precision]


def computes_bf16(device: torch.device) -> bool:
    """Tell whether the hardware multiplies bf16; emulating it is slower than fp32.

    With the environment variable ``NAPARI_UNET_BF16=0`` a machine stands for one that does not.
    """
    if os.environ.get("NAPARI_UNET_BF16") == "0":
        return False
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":  # what torch.cpu.get_capabilities tells, which older torch lacks
        return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    return False


@contextmanager
def repeatable(wanted: bool) -> Iterator[None]:
    """Let cuDNN use only algorithms that repeat bit for bit within the block, where that is wanted."""
    if not wanted:  # another thread may want it
        yield
        return
    cudnn = torch.backends.cudnn
    before = cudnn.deterministic, cudnn.benchmark
    cudnn.deterministic, cudnn.benchmark = True, False
    try:
        yield
    finally:
        cudnn.deterministic, cudnn.benchmark = before


def is_out_of_memory(error: Exception) -> bool:
    """Tell whether an error of torch or numpy says that memory ran out, on any device."""
    messages = ("out of memory", "can't allocate memory", "not enough memory")
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(
        message in str(error) for message in messages
    )


def unless_memory_is_short(work: Callable[[], T]) -> T | None:
    """Return what the work returns, or None where it runs out of memory."""
    try:
        return work()
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
    return None


@contextmanager
def full_precision(wanted: bool) -> Iterator[None]:
    """Let cuDNN multiply fp32 as fp32 within the block, not as TF32, where that is wanted."""
    cudnn = torch.backends.cudnn
    before = cudnn.allow_tf32
    cudnn.allow_tf32 = before and not wanted
    try:
        yield
    finally:
        cudnn.allow_tf32 = before


@contextmanager
def memory_reused() -> Iterator[None]:
    """Let this process keep, within the block, what it frees for what comes next; hand it back at the end."""
    reuse_memory()
    try:
        yield
    finally:
        if reuse_memory(False):
            ctypes.CDLL(None).malloc_trim(0)


def reuse_memory(wanted: bool = True) -> bool:
    """Choose whether large blocks that are freed are kept for the next one; tell whether that can be chosen.

    glibc hands blocks of more than 32 MB back at once; to get their pages again, zeroed, takes up to a third
    of the time of a prediction. It can keep them for the main thread only.
    """
    if not can_reuse_memory():
        return False
    mapped, trimmed = (2**30, 2**31 - 1) if wanted else (2**25, 2**26)
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(M_MMAP_THRESHOLD, mapped) and mallopt(M_TRIM_THRESHOLD, trimmed))


def can_reuse_memory() -> bool:
    """Tell whether `memory_reused` has an effect in this thread."""
    is_main = threading.current_thread() is threading.main_thread()
    return sys.platform == "linux" and is_main and hasattr(ctypes.CDLL(None), "mallopt")  # musl has none


def free_memory(device: torch.device) -> int:
    """Return the bytes that are free on a device; a guess where the system does not tell."""
    if device.type == "cuda":  # what torch keeps for itself is free for the next tile
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + kept
    return available_memory()
