"""A headless Chromium driven over its own protocol through two pipes: pages are opened, pointed at, and asked."""

import contextlib
import itertools
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.boards.rigs.needs import program, wait_until

_QUIET = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--mute-audio"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars"),
    *("--window-size=1400,1100", "--remote-debugging-pipe"),
)  # fmt: skip


class Page:
    """One page; what it said on the console, its errors, and the addresses it asked for beside its own."""

    def __init__(self, send: int, receive: int) -> None:
        self._send, self._receive, self._rest = send, receive, b""
        self._numbers = itertools.count(1)
        self._session: str | None = None
        self.said: list[str] = []
        self.asked: list[str] = []
        self.frames: dict[str, int] = {}  # context of each frame, by the frame's id
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """The answer of a command of the protocol; events that come before it are noted."""
        number = next(self._numbers)
        command = {"id": number, "method": method, "params": params}
        if self._session:
            command["sessionId"] = self._session
        os.write(self._send, json.dumps(command).encode() + b"\0")
        while True:
            message = self._message()
            if message.get("id") == number:
                assert "error" not in message, message
                return message["result"]
            self._note(message.get("method", ""), message.get("params", {}))

    def _message(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._receive], [], [], 30)
            part = os.read(self._receive, 1 << 20) if ready else b""
            assert part, "Chromium does not answer"
            self._rest += part
        text, _, self._rest = self._rest.partition(b"\0")
        return json.loads(text)

    def _note(self, event: str, params: dict[str, Any]) -> None:
        if event == "Runtime.consoleAPICalled":
            self.said.append(
                " ".join(str(one.get("value", one.get("description"))) for one in params["args"])
            )
        elif event == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            self.said.append(details.get("exception", {}).get("description", details["text"]))
        elif event == "Log.entryAdded":
            self.said.append(params["entry"]["text"])
        elif event == "Network.requestWillBeSent":
            self.asked.append(params["request"]["url"])
        elif event == "Runtime.executionContextCreated":
            self.frames[params["context"]["auxData"]["frameId"]] = params["context"]["id"]

    def open(self, path: Path, ready: str) -> None:
        """Open a file and wait until the expression `ready` holds in it."""
        self.call("Page.navigate", url=path.as_uri())
        self.wait(ready)

    def ask(self, expression: str, context: int | None = None) -> Any:
        """The value of an expression in the page, or in the context of one of its frames."""
        where = {} if context is None else {"contextId": context}
        found = self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True, **where
        )
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def wait(self, expression: str, context: int | None = None) -> None:
        """Wait until an expression holds."""
        wait_until(lambda: self.ask(expression, context), expression, timeout_s=40, step_s=0.05)

    def frame(self) -> int:
        """The context of the page's only frame, once it is there."""

        def known() -> list[int]:
            children = self.call("Page.getFrameTree")["frameTree"].get("childFrames", [])
            return [self.frames[c["frame"]["id"]] for c in children if c["frame"]["id"] in self.frames]

        wait_until(lambda: len(known()) == 1, "the frame", timeout_s=40, step_s=0.05)
        return known()[0]

    def mouse(self, kind: str, x: float, y: float, button: str = "none", **more: Any) -> None:
        """`mouseMoved`, `mousePressed` or `mouseReleased` at a place of the window, in pixels."""
        self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button=button, **more)

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Press the left button, move, release."""
        self.mouse("mouseMoved", *start)
        self.mouse("mousePressed", *start, button="left", buttons=1, clickCount=1)
        for share in (0.3, 0.7, 1.0):
            place = [a + share * (b - a) for a, b in zip(start, end, strict=True)]
            self.mouse("mouseMoved", *place, button="left", buttons=1)
            time.sleep(0.03)
        self.mouse("mouseReleased", *end, button="left", clickCount=1)


@contextlib.contextmanager
def chromium() -> Iterator[Page]:
    """A page of a browser that ends with the block.

    Raises:
        Unavailable: no Chromium on this machine.
    """
    path = program("chromium")
    profile = tempfile.mkdtemp(prefix="hakd-chromium-")
    ours, theirs = os.pipe(), os.pipe()  # (read, write): commands, answers
    # Chromium reads commands from descriptor 3 and writes answers to 4.
    script = f'exec 3<&{ours[0]} 4>&{theirs[1]}; exec "$@"'
    process = subprocess.Popen(
        ["bash", "-c", script, "bash", path, *_QUIET, f"--user-data-dir={profile}"],
        pass_fds=(ours[0], theirs[1]), start_new_session=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env=os.environ | {"HOME": profile},
    )  # fmt: skip
    os.close(ours[0])
    os.close(theirs[1])
    try:
        yield Page(ours[1], theirs[0])
    finally:
        os.close(ours[1])  # it ends when its commands end
        os.close(theirs[0])
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        shutil.rmtree(profile, ignore_errors=True)
