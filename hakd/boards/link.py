"""The link to an agent: a process, its three streams, a heartbeat, and an end that is always noticed.

A transport is a function from a device to an argv list; the process it starts connects its standard streams to the
agent's. Everything that varies goes over stdin, so no transport has anything to quote.
"""

import contextlib
import os
import queue
import select
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from hakd.boards import local
from hakd.boards.device import Device
from hakd.boards.wire import LineReader, clean, frame
from hakd.records.errors import HakdError

Transport = Callable[[Device], list[str]]
TRANSPORTS: Mapping[str, Transport] = {"local": local.command}
BEAT_S = 1.0
SILENCE_S = 15.0  # the agent beats every 2 s
STDERR_LIMIT = 1 << 14
NOISE_LIMIT = 1 << 24
_AGAIN = "Run the same command again: it goes on where it stopped"


class Link:
    """A running agent process.

    Raises:
        HakdError: it cannot be started; later, from `send` and `receive`, that it went away.
    """

    def __init__(self, argv: list[str], source: str, config: Mapping[str, Any], where: str) -> None:
        self.where = where
        self.reader = LineReader(config["tag"])
        self._messages: queue.Queue[dict[str, Any] | None] = queue.Queue(maxsize=10_000)
        self._stderr = bytearray()
        self._lost = ""
        self._closed = threading.Event()
        self._sending = threading.Lock()
        self._heard_at = time.monotonic()
        try:
            # A session of its own: Ctrl-C at the terminal reaches this program only, which then ends the agent.
            pipe = subprocess.PIPE
            self.process = subprocess.Popen(
                argv, stdin=pipe, stdout=pipe, stderr=pipe, cwd="/", start_new_session=True
            )
        except OSError as error:
            raise HakdError(
                f"cannot start {argv[0]} ({error.strerror})",
                where=where,
                key="python",
                remedy="Give the path of a Python with numpy and the engine on the device",
            ) from None
        self._threads = [
            threading.Thread(target=work, daemon=True) for work in (self._read, self._read_stderr, self._beat)
        ]
        for thread in self._threads:
            thread.start()
        body = source.encode()
        self._write(b"%d\n%s" % (len(body), body) + frame(config))

    def send(self, content: Mapping[str, Any]) -> None:
        """Send one frame."""
        self._write(frame(content))

    def _write(self, data: bytes) -> None:
        assert self.process.stdin is not None
        try:
            with self._sending:
                self.process.stdin.write(data)
                self.process.stdin.flush()
        except (OSError, ValueError):
            # The agent may have said why before it left: let receive() tell.
            self._lost = self._lost or "it stopped reading"

    def _beat(self) -> None:
        while not self._closed.wait(BEAT_S):
            self.send({"do": "beat"})

    def _read(self) -> None:
        assert self.process.stdout is not None
        fd = self.process.stdout.fileno()
        while True:
            messages = []
            if select.select([fd], [], [], 1.0)[0]:
                data = os.read(fd, 1 << 16)
                if not data:
                    break
                messages = self.reader.feed(data)
            if messages:
                self._heard_at = time.monotonic()
            elif time.monotonic() - self._heard_at > SILENCE_S:
                self._lose(f"no sign of life for {SILENCE_S:g} s")
            if self.reader.noise_bytes > NOISE_LIMIT:
                self._lose("it floods its output")
            for message in messages:
                self._messages.put(message)
        self._messages.put(None)

    def _lose(self, reason: str) -> None:
        self._lost = self._lost or reason
        self.kill()

    def _read_stderr(self) -> None:
        assert self.process.stderr is not None
        while data := os.read(self.process.stderr.fileno(), 1 << 16):
            self._stderr += data
            del self._stderr[:-STDERR_LIMIT]

    def receive(self, timeout_s: float) -> list[dict[str, Any]]:
        """All messages that are there, at least one.

        Raises:
            HakdError: nothing came in time, or the agent is gone.
        """
        try:
            first = self._messages.get(timeout=timeout_s)
        except queue.Empty:
            raise self.gone(f"nothing came for {timeout_s:g} s") from None
        if first is None:
            self._messages.put(None)  # for the next caller
            raise self.gone(self._lost)
        messages = [first]
        with contextlib.suppress(queue.Empty):
            while (message := self._messages.get_nowait()) is not None:
                messages.append(message)
            self._messages.put(None)
        return messages

    def gone(self, reason: str) -> HakdError:
        """The error for an agent that went away, with what it last said on stderr."""
        self.kill()
        code = self.process.wait()
        self._threads[1].join(1.0)
        said = self._stderr.decode("utf-8", "replace").strip().splitlines()
        about = [reason] if reason else []
        if code != -signal.SIGKILL:  # that one may be our own
            about.append(f"exit status {code}")
        if said:
            about.append(f"last words: {clean(said[-1], 300)}")
        return HakdError(f"the agent went away ({'; '.join(about)})", where=self.where, remedy=_AGAIN)

    def kill(self) -> None:
        """End the process and its group; workers follow by themselves."""
        self._closed.set()
        with contextlib.suppress(OSError):
            os.killpg(self.process.pid, signal.SIGKILL)

    def close(self, patience_s: float = 5.0) -> None:
        """Hang up: the agent leaves when its stdin ends, and is killed when it does not."""
        self._closed.set()
        assert self.process.stdin is not None
        with contextlib.suppress(OSError, ValueError):
            self.process.stdin.close()
        try:
            self.process.wait(patience_s)
        except subprocess.TimeoutExpired:
            self.kill()
            self.process.wait()
        for thread in self._threads:
            thread.join(5.0)
        for stream in (self.process.stdout, self.process.stderr):
            assert stream is not None
            stream.close()
