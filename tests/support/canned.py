"""An SQS of canned answers, for what no broker does when asked: silence, lost answers, refusals."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

# Never answered; the connection closed without an answer.
SILENCE, LOSE = "silence", "lose"
Answer = dict[str, Any] | str


def refusal(code: str) -> Answer:
    """A refusal of that code, status 400."""
    return {"__type": f"com.amazonaws.sqs#{code}", "message": "no"}


@contextmanager
def canned(answer: Callable[[str, dict[str, Any]], Answer]) -> Iterator[str]:
    """The URL of a server that gives what `answer` says to (operation, request), and itself answers who opens a queue."""
    over = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            operation = self.headers["X-Amz-Target"].rpartition(".")[2]
            body = self._opening(operation) or answer(operation, request)
            if isinstance(body, str):
                self.close_connection = True
                if body == SILENCE:
                    over.wait()
                return
            text = json.dumps(body).encode()
            self.send_response(400 if "__type" in body else 200)
            self.send_header("Content-Type", "application/x-amz-json-1.0")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def _opening(self, operation: str) -> Answer | None:
            if operation == "GetQueueUrl":
                return {"QueueUrl": f"{url}/0/Canned.fifo"}
            return {"Attributes": {"VisibilityTimeout": "120", "FifoQueue": "true"}} if operation == "GetQueueAttributes" else None

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    url = f"http://127.0.0.1:{server.server_address[1]}"
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    try:
        yield url
    finally:
        over.set()
        server.shutdown()
        serving.join()
        server.socket.close()
