"""What gunicorn reads by itself when it is started in this folder; its command line wins."""

from __future__ import annotations

import ctypes
import signal
from types import FrameType
from typing import Any

worker_class = "gthread"
# Each open live page takes a thread (TRADES_LIVE_STREAMS), and pages need some beside them.
threads = 32
graceful_timeout = 10  # s
M_MMAP_THRESHOLD, LARGE_BLOCK = -3, 128 * 1024  # of glibc's malloc.h; bytes


def end_streams() -> None:
    """Let the live streams end: a worker waits for all its requests, and a stream would last for minutes."""
    from trades.web.pulse import pulse

    pulse.stop()


def give_memory_back() -> None:
    """Let blocks of memory that are large go back to the system as soon as they are free. Left to itself glibc raises what it calls
    large with each document of many megabytes, and every thread keeps what it had for one."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK)


def post_worker_init(worker: Any) -> None:
    """Ends the streams at the first SIGTERM, which gunicorn has no hook for."""
    give_memory_back()
    orderly_stop = signal.getsignal(signal.SIGTERM)

    def stop(number: int, frame: FrameType | None) -> None:
        end_streams()
        if callable(orderly_stop):
            orderly_stop(number, frame)

    signal.signal(signal.SIGTERM, stop)
    signal.siginterrupt(signal.SIGTERM, False)


def worker_int(worker: Any) -> None:
    """Ctrl-C, or SIGQUIT."""
    end_streams()
