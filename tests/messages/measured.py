"""What reading a document costs, measured in a process of its own whose limits end it when it runs away.

`python -m tests.messages.measured` takes `[name, file, way]` a line, reads the file in this way, and prints one JSON object.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.messages.hostile import QUEUE_ROOM, TAKEN, Case, Lab, document

ROOT = Path(__file__).resolve().parent.parent.parent
CPU_LIMIT = 10  # seconds, after which a reading is ended
ADDRESS_LIMIT = 4 * 1024**3  # bytes, beyond which it gets a MemoryError
PEAK_UNIT = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss (getrusage)
LARGEST = 64 * 1024 * 1024  # bytes of a document that is read from its file
SECRET = "open-sesame-7391"


@dataclass(frozen=True, slots=True)
class Cost:
    """What came of one reading: "taken" or the code of a refusal with its sentence, or a failure; CPU seconds; bytes of memory beyond
    those at its start; whether the text of a secret file came out."""

    name: str
    way: str
    outcome: str = ""
    sentence: str = ""
    failure: str = ""
    cpu: float = 0.0
    peak: int = 0
    leaked: bool = False


@contextmanager
def laboratory(folder: Path) -> Iterator[tuple[Lab, Callable[[], bool]]]:
    """What hostile documents name: a secret file in `folder` and a server, and whether anybody has connected to it."""
    secret = folder / "secret.txt"
    secret.write_text(SECRET, "utf-8")
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0)

        def asked() -> bool:
            with suppress(BlockingIOError):
                server.accept()[0].close()
                return True
            return False

        yield Lab(f"http://127.0.0.1:{server.getsockname()[1]}", secret), asked


def costs(lab: Lab, cases: Mapping[str, Case], ways: Sequence[str] = ()) -> Iterator[Cost]:
    """The cost of each document in each way, by default those in which one of its size may come.

    They are built into the folder of the secret file, one after the other.
    """
    command = [sys.executable, "-m", "tests.messages.measured"]
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.support.settings"}
    file = lab.secret.with_name("hostile.xml")
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin
        assert process.stdout
        for name, case in cases.items():
            file.write_bytes(document(case, lab))
            for way in ways or ways_of(file):
                print(json.dumps([name, str(file), way]), file=process.stdin, flush=True)
                yield Cost(**json.loads(process.stdout.readline()))


def ways_of(file: Path) -> list[str]:
    """In which ways a document of this size may come: no queue carries a large one."""
    return [way for way in ("parse", "prepare", "judge") if way != "judge" or file.stat().st_size <= QUEUE_ROOM]


def as_text(data: bytes) -> str:
    """The text of a message with this document, as far as it can be one: the bytes one by one where they are not UTF-8."""
    with suppress(UnicodeDecodeError):
        return data.decode("utf-8")
    return data.decode("latin-1")


def _parse(data: bytes) -> Any:
    from trades import messages

    return messages.parse(data)


def _prepare(data: bytes) -> Any:
    """All parts of a document, or the refusal of the first that is refused."""
    from trades import messages

    prepared = messages.prepare(data)
    refusal = next((part.refusal for part in prepared if part.refusal), None)
    if refusal:
        raise refusal
    return prepared


def _judge(text: str) -> Any:
    from trades import history, messages

    judged = history.judge(text)
    if isinstance(judged, messages.MessageRefused):
        raise judged
    return judged


def _large(file: Path) -> Any:
    """What a file of any size says, its text written to another file first, as of an upload or of a payload."""
    from trades import messages

    with file.open("rb") as source:
        pieces = iter(lambda: source.read(64 * 1024), b"")
        text = messages.write_text(pieces, file.with_suffix(".text"), max_bytes=LARGEST)
    return messages.parse(text, max_bytes=LARGEST)


WAYS: dict[str, Callable[[Any], Any]] = {"parse": _parse, "prepare": _prepare, "judge": _judge, "large": _large}


def _main() -> None:
    import django

    django.setup()
    from tests.messages.documents import BOOK, fpml, trade

    for known in (BOOK, fpml("executionNotification", trade())):  # reads all mappings, which is no cost of a document
        _judge(known)
        _prepare(known.encode())
    for line in sys.stdin:
        name, file, way = json.loads(line)
        print(json.dumps(asdict(_alone(name, Path(file), way))), flush=True)


def _alone(name: str, file: Path, way: str) -> Cost:
    """One reading in a process of its own."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.close(reader)
        with os.fdopen(writer, "w") as pipe:
            json.dump(asdict(_measured(name, file, way)), pipe)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        said = pipe.read()
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return Cost(name, way, failure=f"ended by {signal.Signals(os.WTERMSIG(status)).name}", cpu=CPU_LIMIT)
    return Cost(**json.loads(said))


def _measured(name: str, file: Path, way: str) -> Cost:
    from trades import messages

    resource.setrlimit(resource.RLIMIT_CPU, (CPU_LIMIT, CPU_LIMIT))
    if sys.platform != "darwin":
        resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_LIMIT, ADDRESS_LIMIT))
    given: Any = file if way == "large" else as_text(file.read_bytes()) if way == "judge" else file.read_bytes()
    with suppress(OSError):  # Linux: the peak counts from here on (clear_refs in proc_pid_clear_refs(5))
        Path("/proc/self/clear_refs").write_text("5", "ascii")
    outcome, sentence, failure, said = "", "", "", None
    at_start, started = _peak(), time.process_time()
    try:
        said, outcome = WAYS[way](given), TAKEN
    except messages.MessageRefused as refusal:
        outcome, sentence = refusal.code, str(refusal)
    except BaseException as error:  # noqa: BLE001 that any of them may come is what is measured
        failure = f"{type(error).__name__}: {error}"[:500]
    cpu, peak = time.process_time() - started, _peak() - at_start
    return Cost(name, way, outcome, sentence[:2_000], failure, cpu, peak, SECRET in f"{sentence}{said}")


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * PEAK_UNIT


if __name__ == "__main__":
    _main()
