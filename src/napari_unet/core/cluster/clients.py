"""Whom to ask for workers: processes of this machine, or the scheduler of a Dask cluster."""

import logging
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import torch

if TYPE_CHECKING:
    from distributed import Client

HOST = "127.0.0.1"
_LOCAL = (HOST, "localhost", "::1")
_FAILURES = 10  # of workers during one task, before the run gives up: a worker's neighbours are innocent
_MEMORY = "distributed.worker.memory"
_SECONDS = 20  # for a scheduler to answer
# tasks run beside the main thread: one arena for all, so that memory is reused there too; see `memory_reused`
_ENVIRONMENT = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": str(2**30),
    "MALLOC_TRIM_THRESHOLD_": str(2**31 - 1),
}


@contextmanager
def local_client(n_workers: int) -> "Iterator[Client]":
    """Start worker processes on this machine, and end them.

    They share its cores and its memory, and its GPUs, one each as long as there are enough. Nothing outside
    this machine can reach them. A script that calls this needs ``if __name__ == "__main__":`` around it,
    because each worker imports the script.

    Parameters
    ----------
    n_workers : int
        How many.

    Yields
    ------
    distributed.Client
        For `segment_on_cluster`.

    Raises
    ------
    ValueError
        If there are to be none, or Dask is not installed.
    """
    if n_workers < 1:
        raise ValueError(f"there are to be {n_workers} workers: choose at least 1")
    require_dask()
    import dask
    from distributed import Client, Nanny, Scheduler, SpecCluster

    # even without its pages Dask's web server listens, unless told otherwise to the whole world
    options = {
        "host": HOST,
        "port": 0,
        "dashboard": False,
        "dashboard_address": f"{HOST}:0",
        "allowed_failures": _FAILURES,
    }
    with dask.config.set({"distributed.nanny.pre-spawn-environ": _ENVIRONMENT}):
        with _deaf_to_interrupts():
            cluster = SpecCluster(
                workers={
                    number: {"cls": Nanny, "options": _worker_options(number, n_workers)}
                    for number in range(n_workers)
                },
                scheduler={"cls": Scheduler, "options": options},
                silence_logs=logging.CRITICAL,
            )
        with cluster, Client(cluster) as client:
            yield client


@contextmanager
def connect(address: str) -> "Iterator[Client]":
    """Connect to the scheduler of a Dask cluster.

    Parameters
    ----------
    address : str
        ``tcp://host:port``, or ``tls://host:port`` with the certificates that Dask's configuration names.

    Yields
    ------
    distributed.Client
        For `segment_on_cluster`.

    Raises
    ------
    ValueError
        If that is no address, no certificates are configured, or Dask is not installed.
    OSError
        If nobody answers.
    """
    require_dask()
    from distributed import Client

    _check_address(address)
    try:
        client = Client(address, timeout=_SECONDS, set_as_default=False)
    except (OSError, TimeoutError) as error:
        raise OSError(
            f"no Dask scheduler answers at {address}: start one with `dask scheduler`, or use --workers"
        ) from error
    with client:
        yield client


def local_workers(client: "Client") -> list[str]:
    """Return the addresses of the workers that run on this machine."""
    return [address for address in client.nthreads() if urlsplit(address).hostname in _LOCAL]


def trust_warning(address: str) -> str | None:
    """Say what is to be known about an address: Dask executes whatever it is sent.

    Examples
    --------
    >>> trust_warning("tcp://127.0.0.1:8786") is trust_warning("tls://node7:8786") is None
    True
    >>> trust_warning("tcp://node7:8786")[:58]
    'tcp://node7:8786 is neither encrypted nor protected: Dask '
    """
    parts = urlsplit(address)
    if parts.scheme != "tcp" or parts.hostname in _LOCAL:
        return None
    return (
        f"{address} is neither encrypted nor protected: Dask sends pickles, so whoever reaches a port of the "
        "cluster can run programs as you; use tls://, or a network that you trust"
    )


@contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """Start threads and processes that never hear of Ctrl-C: a terminal sends it to all, one is to answer.

    The signals that a thread does not hear are handed on to what it starts, now and later.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    from multiprocessing.resource_tracker import ensure_running

    ensure_running()  # whoever starts it hears again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def require_dask() -> None:
    """Raise ValueError if Dask is not installed."""
    try:
        import distributed  # noqa: F401
    except ImportError as error:
        raise ValueError(
            "several workers need Dask, which is not installed: pip install 'napari-unet[cluster]'"
        ) from error


def _check_address(address: str) -> None:
    import dask

    parts = urlsplit(address)
    if parts.scheme not in ("tcp", "tls") or not parts.hostname:
        raise ValueError(f"{address} is no address of a scheduler: give tcp://host:port or tls://host:port")
    if parts.scheme == "tls" and not dask.config.get("distributed.comm.tls.ca-file"):
        raise ValueError(
            f"no certificates for {address}: name them in distributed.comm.tls of Dask's configuration"
        )


def _worker_options(number: int, n_workers: int) -> dict[str, Any]:
    """Return what a worker is started with: its share of cores, memory and GPUs."""
    from dask.system import CPU_COUNT
    from distributed.system import MEMORY_LIMIT

    n_cores = max(1, CPU_COUNT // n_workers)
    env = {"OMP_NUM_THREADS": str(n_cores)}
    if gpus := _gpus():
        env["CUDA_VISIBLE_DEVICES"] = gpus[number % len(gpus)]
    return {
        "host": HOST,
        "nthreads": min(2, n_cores),  # one reads and writes while the other computes, with all the cores
        "memory_limit": MEMORY_LIMIT // n_workers,
        "env": env,
        "silence_logs": logging.CRITICAL,  # errors arrive here, and are said once
        # tasks leave nothing in memory that Dask could move to the disk: a worker that waits for that, hangs
        "config": {f"{_MEMORY}.{what}": False for what in ("target", "spill", "pause")},
    }


def _gpus() -> list[str]:
    """Return the names by which CUDA is told which GPU to see."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if not torch.cuda.is_available():
        return []
    return visible.split(",") if visible else [str(number) for number in range(torch.cuda.device_count())]
