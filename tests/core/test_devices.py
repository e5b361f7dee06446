"""Devices and precision: chosen by what is there."""

import platform
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from napari_unet.core import memory
from napari_unet.core.devices import (
    can_reuse_memory,
    choose_device,
    choose_precision,
    computes_bf16,
    describe_device,
    free_memory,
    full_precision,
    is_out_of_memory,
    memory_reused,
    repeatable,
)
from napari_unet.core.memory import room_in_groups

CPU = torch.device("cpu")


def test_a_device_that_is_absent_is_named_with_what_there_is(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match=r"'cuda', which is not here: choose one of auto, .*cpu"):
        choose_device("cuda")


@pytest.mark.parametrize("name", ["gpu", "CPU", ""])
def test_an_unknown_device_is_an_error(name):
    with pytest.raises(ValueError, match="choose one of"):
        choose_device(name)


def test_auto_takes_the_fastest(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_device().type == "cuda"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert choose_device() == CPU


def test_precision_follows_the_hardware_unless_told(monkeypatch):
    assert choose_precision(CPU) == (torch.bfloat16 if computes_bf16(CPU) else torch.float32)
    monkeypatch.setattr("napari_unet.core.devices.computes_bf16", lambda device: False)
    assert choose_precision(CPU) == torch.float32
    assert choose_precision(CPU, "bf16") == torch.bfloat16
    with pytest.raises(ValueError, match="'fp8'"):
        choose_precision(CPU, "fp8")


def test_devices_have_names_and_memory():
    assert free_memory(CPU) > 2**20
    assert describe_device(torch.device("mps")) == "Apple GPU"


@pytest.mark.parametrize(
    ("n_threads", "bf16", "words"), [(2, True, "CPU, 2 threads, bf16"), (1, False, "CPU, 1 thread")]
)
def test_a_cpu_is_described_by_its_threads_and_whether_it_computes_bf16(n_threads, bf16, words, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: n_threads)
    monkeypatch.setattr("napari_unet.core.devices.computes_bf16", lambda device: bf16)
    assert describe_device(CPU) == words


def test_a_gpu_is_described_by_its_memory(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA H1")
    properties = SimpleNamespace(total_memory=int(23.6 * 2**30))
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: properties)
    assert describe_device(torch.device("cuda")) == "NVIDIA H1, 24 GB"


def test_memory_that_ran_out_is_recognised():
    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    assert is_out_of_memory(
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1")
    )
    assert not is_out_of_memory(RuntimeError("size mismatch"))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_cuda_tells_its_memory_and_name():
    device = choose_device("cuda")
    assert free_memory(device) > 0 and describe_device(device)


def test_only_the_main_thread_reuses_memory():
    with ThreadPoolExecutor(1) as elsewhere:
        assert elsewhere.submit(can_reuse_memory).result() is False
    assert can_reuse_memory() or platform.libc_ver()[0] != "glibc"


def test_a_system_without_glibc_reuses_no_memory(monkeypatch):
    monkeypatch.setattr("sys.platform", "win32")
    assert can_reuse_memory() is False
    with memory_reused():
        pass


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told what to keep")
def test_memory_that_was_kept_is_handed_back_at_the_end():
    def resident():
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

    before = resident()
    with memory_reused():
        blocks = [np.ones(2**25) for _ in range(4)]  # 1 GiB
        del blocks
        assert resident() > before + 2**29
    assert resident() < before + 2**28


def test_full_precision_is_full_and_ends_with_the_block():
    before = torch.backends.cudnn.allow_tf32
    with full_precision(True):
        assert not torch.backends.cudnn.allow_tf32
    assert torch.backends.cudnn.allow_tf32 == before
    with full_precision(False):
        assert torch.backends.cudnn.allow_tf32 == before


def test_who_does_not_care_for_repeats_leaves_them_to_others(monkeypatch):
    cudnn = torch.backends.cudnn
    monkeypatch.setattr(cudnn, "deterministic", False)
    cares, does_not = repeatable(True), repeatable(False)
    with cares:
        does_not.__enter__()
        assert cudnn.deterministic
    does_not.__exit__(None, None, None)
    assert not cudnn.deterministic


@pytest.mark.parametrize(("most", "expected"), [("3000", 2000), ("500", 0), ("max", None)])
def test_the_limit_of_a_container_counts(most, expected, tmp_path, monkeypatch):
    group = tmp_path / "sys/fs/cgroup/job"
    group.mkdir(parents=True)
    (group / "memory.max").write_text(f"{most}\n")
    (group / "memory.current").write_text("1070\n")
    (group / "memory.stat").write_text("anon 1000\ninactive_file 70\n")
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text("0::/job\n")
    (tmp_path / "proc/meminfo").write_text("MemTotal: 9 kB\nMemAvailable: 8 kB\n")
    monkeypatch.setattr(
        memory, "Path", lambda *parts: tmp_path.joinpath(*(str(p).lstrip("/") for p in parts))
    )
    monkeypatch.setattr(memory, "room_in_groups", lambda: room_in_groups(tmp_path))
    assert free_memory(torch.device("cpu")) == (8 * 1024 if expected is None else expected)
