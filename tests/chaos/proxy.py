"""A TCP proxy that can be cruel: it severs and slows connections, closes its port, and swallows answers."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, Self

CHUNK = 65_536
# A close with this option sends a reset, as a firewall or a dying machine does, instead of an orderly end.
RESET = struct.pack("ii", 1, 0)
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Proxy:
    """Forwards a port of 127.0.0.1 to another one or to a Unix socket, from a thread of its own. Use as a context manager.

    `delay` is the pause in seconds before each piece of data is passed on, in either direction; `usual` is what it is at first.
    """

    def __init__(self, target: int | Path, usual: float = 0.0) -> None:
        self.target = target
        self.port = 0
        self.delay = self.usual = usual
        self.accepted = 0
        self._swallowing = False
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def open(self) -> None:
        """Listen: at first on any free port, later on the same one again."""
        self._do(self._open())

    def close(self) -> None:
        """Refuse new connections and sever those that exist, until `open`."""
        self._do(self._close())

    def sever(self) -> int:
        """Reset all connections; gives how many there were."""
        return self._do(self._sever())

    def swallow(self, on: bool) -> None:
        """Pass requests on and keep their answers back. Its end severs the connections: what follows a lost answer can't be read."""
        if on:
            self._swallowing = True
        else:
            self.sever()
            self._swallowing = False

    # In the proxy's own thread

    def _do(self, work: Coroutine[Any, Any, int]) -> int:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _open(self) -> int:
        if self._server is None:
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
            self.port = self._server.sockets[0].getsockname()[1]
        return self.port

    async def _close(self) -> int:
        if self._server is not None:
            self._server.close()
            self._server = None
        severed = await self._sever()
        await asyncio.sleep(0)  # a connection accepted just now gets its turn, and is refused by `_serve`
        return severed

    async def _sever(self) -> int:
        severed = len(self._writers) // 2
        for writer in self._writers:
            _reset(writer)
        self._writers.clear()
        return severed

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        try:
            far_reader, far_writer = await self._connect()
        except OSError:
            _reset(writer)
            return
        if self._server is None:
            _reset(writer)
            _reset(far_writer)
            return
        self._writers |= {writer, far_writer}
        await asyncio.gather(self._pump(reader, far_writer, answers=False), self._pump(far_reader, writer, answers=True))
        self._writers -= {writer, far_writer}

    async def _connect(self) -> Streams:
        if isinstance(self.target, Path):
            return await asyncio.open_unix_connection(self.target)
        return await asyncio.open_connection("127.0.0.1", self.target)

    async def _pump(self, source: asyncio.StreamReader, target: asyncio.StreamWriter, *, answers: bool) -> None:
        try:
            while data := await source.read(CHUNK):
                if self.delay:
                    await asyncio.sleep(self.delay)
                if not (answers and self._swallowing):
                    target.write(data)
                    await target.drain()
        except OSError:
            pass
        finally:
            target.close()


def _reset(writer: asyncio.StreamWriter) -> None:
    connection = writer.get_extra_info("socket")
    if connection is not None and connection.fileno() >= 0 and connection.family != socket.AF_UNIX:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    writer.transport.abort()
