"""What gunicorn reads by itself when it is started in this folder; its command line wins."""

from __future__ import annotations

import signal
from types import FrameType
from typing import Any

worker_class = "gthread"
# Each open live page takes a thread (TRADES_LIVE_STREAMS), and pages need some beside them.
threads = 32
graceful_timeout = 10  # s


def end_streams() -> None:
    """Let the live streams end: a worker waits for all its requests, and a stream would last for minutes."""
    from trades.web.pulse import pulse

    pulse.stop()


def post_worker_init(worker: Any) -> None:
    """Ends the streams at the first SIGTERM, which gunicorn has no hook for."""
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
