"""The link to an agent: a process, its three streams, a heartbeat, and an end that is always detected.

A transport turns a device into an argv list; the process it starts connects its standard streams to the agent's.
Everything that varies goes over stdin, so no transport needs to quote anything.
"""

import contextlib
import os
import queue
import select
import signal
import subprocess
import threading
import time
from collections.abc import Mapping
from typing import Any, Protocol

from hakd.boards import agent, local, ssh, virtual
from hakd.boards.device import Device
from hakd.boards.lost import LinkLost
from hakd.boards.wire import LineReader, frame
from hakd.records.errors import HakdError
from hakd.records.text import printable


class Transport(Protocol):
    """How an agent is reached: a module with these."""

    @property
    def CWD(self) -> str | None:
        """Working directory of the process; None: this program's."""

    def command(self, device: Device) -> list[str]:
        """Command line whose standard streams are the agent's."""

    def explain(self, device: Device, status: int, words: str, heard: bool) -> HakdError | None:
        """The error behind an end that the agent did not announce; None when its stderr does not explain it."""

    def turned_away(self, words: str) -> bool:
        """Whether this stderr is that of a board that may accept the next try."""


TRANSPORTS: Mapping[str, Transport] = {"local": local, "ssh": ssh, "virtual": virtual}
BEAT_S = 1.0
SILENCE_S = 15.0  # the agent beats every 2 s
FIRST_WORD_S = 60.0  # until then a hardware key may need a touch, sshd look up names, a slow card load
STDERR_LIMIT = 1 << 14
NOISE_LIMIT = 1 << 24
_AGAIN = "Run the same command again: it continues where it stopped"


class Link:
    """A running agent process.

    Args:
        argv: what to start.
        source: of the agent.
        config: its first frame.
        device: for messages.
        transport: explains an end that the agent did not announce.

    Raises:
        HakdError: it cannot be started; later, from `receive`, that it went away.
    """

    def __init__(
        self, argv: list[str], source: str, config: Mapping[str, Any], device: Device, transport: Transport
    ) -> None:
        self.where = f"device {device.name}"
        self.reader = LineReader(config["tag"])
        self.turned_away = False  # known once it is gone
        self._device, self._transport, self._lease_s = device, transport, config["lease_s"]
        self._messages: queue.Queue[dict[str, Any] | None] = queue.Queue(maxsize=10_000)
        self._stderr = bytearray()
        self._verdict = ""  # why it is gone, when that is certain
        self._hint = ""  # and when it is not
        self._silenced = False  # the agent left because it heard nothing: the link's fault, not its own
        self._heard = False
        self._killed = False
        self._closed = threading.Event()
        self._sending = threading.Lock()
        self._heard_at = time.monotonic()
        try:
            # Its own session: Ctrl-C at the terminal reaches this program only, which then ends the agent.
            pipe = subprocess.PIPE
            self.process = subprocess.Popen(
                argv, stdin=pipe, stdout=pipe, stderr=pipe, cwd=transport.CWD, start_new_session=True
            )
        except OSError as error:
            ours = device.transport == "ssh"
            raise HakdError(
                f"cannot start {argv[0]} ({error.strerror})",
                where=self.where,
                key="transport" if ours else "python",
                remedy="Install the ssh client on this machine (on Debian: openssh-client)"
                if ours
                else "Give the path of a Python with numpy and the engine on the device",
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
            # The agent may have sent the reason before it left: receive() reports it.
            self._hint = self._hint or "it stopped reading"

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
            elif time.monotonic() - self._heard_at > (limit_s := SILENCE_S if self._heard else FIRST_WORD_S):
                self._lose(f"no heartbeat for {limit_s:g} s")
            if self.reader.noise_bytes > NOISE_LIMIT:
                self._lose("too much output")
            for message in messages:
                self._heard = True
                if message["t"] == "leaving":
                    self._verdict = self._verdict or self._goodbye(message)
                else:
                    self._messages.put(message)
        self._messages.put(None)

    def _goodbye(self, message: Mapping[str, Any]) -> str:
        """Why the agent leaves by itself."""
        if message.get("cause") == "lease":
            self._silenced = True
            silence = f"it heard nothing from this program for {self._lease_s:g} s and left"
            return f"{silence}: the link was down, or this program was suspended"
        return f"it left: {printable(message.get('cause'), 300)}"

    def _lose(self, reason: str) -> None:
        self._verdict = self._verdict or reason
        self.kill()

    def _read_stderr(self) -> None:
        assert self.process.stderr is not None
        while data := os.read(self.process.stderr.fileno(), 1 << 16):
            self._stderr += data
            del self._stderr[:-STDERR_LIMIT]

    def receive(self, timeout_s: float) -> list[dict[str, Any]]:
        """All messages that have arrived, at least one.

        Raises:
            HakdError: no message in time, or the agent is gone.
        """
        try:
            first = self._messages.get(timeout=timeout_s)
        except queue.Empty:
            raise self.gone(f"no message for {timeout_s:g} s") from None
        if first is None:
            self._messages.put(None)  # for the next caller
            raise self.gone()
        messages = [first]
        with contextlib.suppress(queue.Empty):
            while (message := self._messages.get_nowait()) is not None:
                messages.append(message)
            self._messages.put(None)
        return messages

    def gone(self, reason: str = "") -> HakdError:
        """The error for an agent that went away: the certain reason, its transport's, or its last stderr line."""
        if self.process.poll() is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(1.0 if not reason else 0.0)  # its output ended before it did
        self.kill()
        code = self.process.wait()
        self._threads[1].join(1.0)
        words = self._stderr.decode("utf-8", "replace")
        verdict = self._verdict or reason
        if not verdict:
            self.turned_away = not self._heard and self._transport.turned_away(words)
            explained = self._transport.explain(self._device, code, words, self._heard)
            if explained is not None:
                return explained
        about = [verdict or self._hint] if verdict or self._hint else []
        if not self._killed:
            about.append(f"ended by {agent.signal_name(-code)}" if code < 0 else f"exit status {code}")
        said = words.strip().splitlines()
        if said:
            about.append(f"last stderr line: {printable(said[-1], 300)}")
        elif not verdict:
            about.append("no goodbye message: was it killed, or out of memory?")
        kind = LinkLost if self._silenced else HakdError
        return kind(f"the agent went away ({'; '.join(about)})", where=self.where, remedy=_AGAIN)

    def kill(self) -> None:
        """End the process and its group; workers follow by themselves."""
        self._closed.set()
        if self.process.poll() is None:
            self._killed = True
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
