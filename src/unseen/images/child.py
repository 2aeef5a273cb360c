"""Child processes that answer over pipes: the decoding workers, and the reader of databases.

They are plain Python processes, so that neither the caller's main module nor its threads nor torch
come along. They end when their input ends, hence also when the caller is killed.
"""

import contextlib
import json
import os
import struct
import subprocess
import sys
from io import RawIOBase
from pathlib import Path
from typing import IO, Any

try:
    import fcntl
except ImportError:  # Windows: its pipes have the size that they have
    fcntl = None  # type: ignore[assignment]

KILLED = "by signal 9"  # how a child ended that something killed, as Linux does without memory
_PIPE_BYTES = 1 << 20  # Linux's limit for a pipe of an ordinary user
_LENGTH = struct.Struct("<Q")
_START = (
    "import json, sys; sys.path[:] = json.loads(sys.stdin.buffer.readline()); "
    "from {module} import main; main()"
)


class ChildEndedError(Exception):
    """The pipe to a child process closed."""


class Child:
    """A process that runs `main()` of a module of this package.

    Args:
        module: its dotted name.
        quiet: throw away what it writes to stderr.
    """

    def __init__(self, module: str, *, quiet: bool = False) -> None:
        self._process = subprocess.Popen(
            # -P: no json.py of the working directory
            [sys.executable, "-P", "-c", _START.format(module=module)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL if quiet else None,
            bufsize=0,
            process_group=0,  # Ctrl-C in a terminal reaches the caller alone, who ends the child
            env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        )
        if hasattr(fcntl, "F_SETPIPE_SZ"):  # Linux alone
            with contextlib.suppress(OSError):
                fcntl.fcntl(_pipe(self._process.stdout), fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        # Sent when the child listens: a killed child is then an error of the first request.
        self._start = json.dumps([str(path) or str(Path.cwd()) for path in sys.path]).encode()

    def begin(self, cargo: bytes) -> None:
        """Send where to import from and, as the first message, what the child works on."""
        self.send(self._start + b"\n")
        self.send_message(cargo)

    def send(self, data: bytes) -> None:
        """Send bytes (ChildEndedError)."""
        try:
            write_all(_pipe(self._process.stdin), data)
        except OSError as error:
            raise ChildEndedError from error

    def send_message(self, content: bytes) -> None:
        """Send bytes with their length before them."""
        self.send(_LENGTH.pack(len(content)) + content)

    def receive(self, length: int) -> bytearray:
        """So many bytes of the answers (ChildEndedError)."""
        data = bytearray(length)
        self.receive_into(memoryview(data))
        return data

    def receive_into(self, rest: memoryview) -> None:
        """Fill the memory from the answers (ChildEndedError)."""
        while rest:
            count = _pipe(self._process.stdout).readinto(rest)
            if not count:
                raise ChildEndedError
            rest = rest[count:]

    def receive_message(self) -> bytearray:
        """Bytes that have their length before them."""
        return self.receive(*_LENGTH.unpack(self.receive(_LENGTH.size)))

    def how_it_ended(self) -> str:
        """What to say of a child that has ended: `by signal 9`, `with status 1`."""
        status = self._process.wait()
        return f"by signal {-status}" if status < 0 else f"with status {status}"

    def kill(self) -> None:
        """End it now; it holds nothing that could be lost."""
        self._process.kill()

    def close(self) -> None:
        """End it, and let go of its pipes."""
        self.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):
                _pipe(pipe).close()


class Caller:
    """The other end, in the child: requests come from stdin, answers go to stdout."""

    def __init__(self) -> None:
        self._requests = sys.stdin.buffer
        self._answers = os.fdopen(os.dup(1), "wb", buffering=0)
        os.dup2(2, 1)  # what anything else prints is not an answer

    def receive(self, length: int) -> bytes:
        """So many bytes of the requests; fewer at their end."""
        return self._requests.read(length)

    def receive_message(self) -> bytes | None:
        """Bytes that have their length before them; None at the end."""
        length = self.receive(_LENGTH.size)
        return self.receive(*_LENGTH.unpack(length)) if length else None

    def answer(self, kind: bytes, *content: bytes | memoryview) -> None:
        """Send one byte that says what follows, and what follows."""
        try:
            for data in (kind, *content):
                write_all(self._answers, data)
        except BrokenPipeError:
            os._exit(0)  # the caller is gone

    def answer_message(self, kind: bytes, content: bytes) -> None:
        """Send one byte that says what follows, and bytes with their length before them."""
        self.answer(kind, _LENGTH.pack(len(content)) + content)


def write_all(pipe: IO[bytes] | RawIOBase, data: bytes | memoryview) -> None:
    """Write everything to an unbuffered pipe."""
    rest = memoryview(data)
    while rest:
        rest = rest[pipe.write(rest) :]


def _pipe(pipe: IO[bytes] | None) -> Any:
    assert pipe is not None
    return pipe
