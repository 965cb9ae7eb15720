"""The board agent: takes the lock, runs the engine in killable workers, reports each burst as a tagged line.

One file for Python 3.8 and later, standard library only; it imports nothing of hakd, is sent over stdin and
leaves nothing on the board. Its first frame is the configuration, which also carries the source of the worker
(worker.py). For frames, lines and the lease see docs/protocol.md.
"""

from __future__ import annotations

import contextlib
import fcntl
import glob
import hashlib
import json
import mmap
import os
import queue
import select
import shutil
import signal
import stat
import struct
import subprocess
import sys
import threading
import time
import traceback
import zlib

AGENT = 1
BOOT = 'import sys;b=sys.stdin.buffer;n=int(b.readline());exec(compile(b.read(n),"agent","exec"))'
FRAME_LIMIT = 1 << 29
BEAT_S = 2.0
ENGINE_START_S = 120.0


# --- frames and lines


def read_frame(stream, heard=lambda: None):
    """The next length-prefixed JSON frame; None at the end. `heard` is called for every part that arrives."""
    head = stream.readline(24)
    if not head:
        return None
    size = int(head)
    if not 0 < size <= FRAME_LIMIT:
        raise ValueError(f"frame of {size} bytes")
    parts = []
    while size:
        part = stream.read1(min(size, 1 << 16))
        if not part:
            return None
        heard()
        parts.append(part)
        size -= len(part)
    return json.loads(b"".join(parts))


def write_frame(stream, content):
    """Write a length-prefixed JSON frame, or bytes as they are."""
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    stream.write(b"%d\n" % len(body))
    stream.write(body)
    stream.flush()


def write_all(fd, data):
    """Write every byte to a file descriptor."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def tagged(tag, body):
    """One output line. The leading newline ends an unfinished line of another writer on the stream."""
    return b"\n@%s %08x %s\n" % (tag.encode(), zlib.crc32(body), body)


class LineWriter:
    """The agent's side of the output: numbered, checksummed lines that carry the session's tag."""

    def __init__(self, fd, tag):
        self.fd, self.tag, self.number, self.lock = fd, tag, 0, threading.Lock()

    def say(self, kind, **fields):
        with self.lock:
            self.number += 1
            body = json.dumps(dict(fields, t=kind, n=self.number), allow_nan=False).encode()
            write_all(self.fd, tagged(self.tag, body))


# --- the board and its state: None where a file is missing


def slurp(path):
    """Start of a small text file, None where it is missing or empty."""
    try:
        with open(path, "rb") as stream:
            return stream.read(1 << 16).decode("utf-8", "replace").strip("\0\n ") or None
    except OSError:
        return None


def number_of(text, scale=1.0):
    """A number, scaled; None where the text is not a number."""
    try:
        return float(text) / scale
    except (TypeError, ValueError):
        return None


def number(path, scale=1.0):
    """The number in a file, scaled; None where there is none."""
    return number_of(slurp(path), scale)


def cpu_fields():
    fields: dict = {}
    for line in (slurp("/proc/cpuinfo") or "").splitlines():
        name, _, value = line.partition(":")
        fields.setdefault(name.strip(), value.strip())
    return fields


def serial_number():
    """Where the board's serial number comes from, and the number: the hardware's own, else the system's machine-id."""
    paths = {"device-tree": "/proc/device-tree/serial-number", "machine-id": "/etc/machine-id"}
    for source, path in paths.items():
        serial = slurp(path)
        if serial:
            return source, serial
    return None, None


def cpu_quota():
    """CPUs that the control groups of this process let it use, v1 or v2; None without a limit.

    Every group up to the root counts. A container's own group may be the root, or be named as seen from outside.
    """
    quotas = []
    for line in (slurp("/proc/self/cgroup") or "").splitlines():
        names, _, path = line.partition(":")[2].partition(":")
        if names and "cpu" not in names.split(","):
            continue
        folder = "/sys/fs/cgroup/cpu" if names else "/sys/fs/cgroup"
        for part in ["", *path.strip("/").split("/")]:
            folder = os.path.join(folder, part)
            if names:
                limit, period = slurp(folder + "/cpu.cfs_quota_us"), slurp(folder + "/cpu.cfs_period_us")
            else:
                limit, _, period = (slurp(folder + "/cpu.max") or "").partition(" ")
            limit_us, period_us = number_of(limit), number_of(period)  # none: max, or -1
            if limit_us and period_us and limit_us > 0:
                quotas.append(limit_us / period_us)
    return min(quotas, default=None)


def cores(cpus):
    """How many cores these CPUs are: hyper-threads of one count once; None where the kernel does not report it."""
    siblings = [slurp(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list") for cpu in cpus]
    return None if None in siblings else len(set(siblings))


def hardware():
    """What does not change while the board is the same board; part of its fingerprint."""
    fields = cpu_fields()
    part = " ".join(fields[name] for name in ("CPU implementer", "CPU part") if name in fields)
    # Two boards of one model are two devices: silicon, cooling and power supply differ.
    serial = serial_number()[1]
    return {
        "machine": os.uname().machine,
        "cpu_model": fields.get("model name") or slurp("/proc/device-tree/model") or part or None,
        "isa_flags": sorted((fields.get("flags") or fields.get("Features") or "").split()),
        "cpus": os.cpu_count(),
        "serial": hashlib.sha256(serial.encode()).hexdigest()[:12] if serial else None,
    }


def throttling():
    """Throttle bits of the firmware (Raspberry Pi) and the kernel's count of throttling events (x86)."""
    bits = None
    if shutil.which("vcgencmd"):
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            command = ["vcgencmd", "get_throttled"]
            done = subprocess.run(command, stdout=subprocess.PIPE, timeout=5, check=True)
            bits = done.stdout.decode("ascii", "replace").strip()
    count = number("/sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count")
    return {"get_throttled": bits, "core_throttle_count": count}


def memory_mb(field):
    """A line of /proc/meminfo in MiB."""
    for line in (slurp("/proc/meminfo") or "").splitlines():
        name, _, value = line.partition(":")
        if name == field and value.split()[0].isdigit():
            return int(value.split()[0]) // 1024
    return None


def context(cpus):
    """State of the board, recorded before and after a session."""
    cpufreq = f"/sys/devices/system/cpu/cpu{cpus[0]}/cpufreq/"
    clock = number(cpufreq + "scaling_cur_freq", 1e3)
    if clock is None:
        clock = number_of(cpu_fields().get("cpu MHz"))
    degrees = [number(path, 1e3) for path in glob.glob("/sys/class/thermal/thermal_zone*/temp")]
    return {
        "host": os.uname().nodename,
        "kernel": os.uname().release,
        "python": sys.version.split()[0],
        "governor": slurp(cpufreq + "scaling_governor"),
        "clock_mhz": clock,
        "clock_min_mhz": number(cpufreq + "cpuinfo_min_freq", 1e3),
        "clock_max_mhz": number(cpufreq + "cpuinfo_max_freq", 1e3),
        "temperature_c": max((value for value in degrees if value is not None), default=None),
        "throttle": throttling(),
        "load": list(os.getloadavg()),
        "memory_total_mb": memory_mb("MemTotal"),
        "memory_free_mb": memory_mb("MemAvailable"),
        "boot_id": slurp("/proc/sys/kernel/random/boot_id"),
        "uptime_s": number_of((slurp("/proc/uptime") or "").partition(" ")[0]),
        "wall_clock_s": time.time(),  # for people only: no measurement uses it
        "affinity": cpus,
        "cores": cores(cpus),
        "cpu_quota": cpu_quota(),
        "serial_from": serial_number()[0],
        "agent": AGENT,
    }


def choose_cpus(threads, wanted):
    """The requested CPUs, or the fastest ones that the process may use, the highest numbers first; may be too few."""
    if wanted is not None:
        return sorted(set(wanted) & os.sched_getaffinity(0))

    def speed(cpu):
        return number(f"/sys/devices/system/cpu/cpu{cpu}/cpufreq/cpuinfo_max_freq") or 0.0, cpu

    return sorted(sorted(os.sched_getaffinity(0), key=speed)[-threads:])


# --- the lock


def open_lock(path):
    """Open the lock file read-only, created where missing: no write access to it is needed."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        fd = os.open(path, flags)
    except FileNotFoundError:
        try:
            fd = os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o644)
            os.fchmod(fd, 0o644)  # whatever the umask, others must be able to open it
        except FileExistsError:
            fd = os.open(path, flags)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        raise OSError(f"{path} is not a regular file")
    return fd


def lock_holder(fd):
    """Process that holds the lock, where /proc/locks shows it."""
    inode = str(os.fstat(fd).st_ino)
    for line in (slurp("/proc/locks") or "").splitlines():
        words = line.split()
        if len(words) >= 6 and words[1] == "FLOCK" and words[5].rpartition(":")[2] == inode:
            return max(0, int(words[4])) or None  # -1 or 0: a holder that cannot be seen from here
    return None


def take_lock(path, voice):
    """Wait for the board's exclusive lock and report the wait once a second. The lock ends with this process."""
    started, said = time.monotonic(), 0.0
    while True:
        fd = open_lock(path)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # A cleaner of temporary files may have replaced the path: then this is a lock on nothing.
            if os.stat(path).st_ino == os.fstat(fd).st_ino:
                return fd
        except (BlockingIOError, FileNotFoundError):
            waited = time.monotonic() - started
            if waited >= said:
                voice.say("waiting", holder=lock_holder(fd), waited_s=round(waited, 1))
                said = waited + 1.0
        os.close(fd)
        time.sleep(0.1)


# --- the agent


def signal_name(code):
    """SIGSEGV for 11."""
    try:
        return signal.Signals(code).name
    except ValueError:
        return f"signal {code}"


class Agent:
    """Serves one client: loads points, runs workers on them, reports the results, leaves with the client."""

    def __init__(self, config, stream, voice):
        self.config, self.voice = config, voice
        self.frames: queue.Queue = queue.Queue()
        self.worker = None
        self.points = {}
        self.heard_at = self.beat_at = time.monotonic()
        self.engine_version = None
        self.cpus = choose_cpus(config["threads"], config["cpus"])
        threading.Thread(target=self.listen, args=(stream,), daemon=True).start()
        threading.Thread(target=self.watch_lease, daemon=True).start()

    def listen(self, stream):
        def heard():
            self.heard_at = time.monotonic()

        try:
            while True:
                frame = read_frame(stream, heard)
                if frame is None:
                    break
                heard()
                if frame["do"] != "beat":
                    self.frames.put(frame)
        finally:
            self.leave(0)

    def watch_lease(self):
        """A dropped link closes no stream: only silence shows that the client is gone."""
        while time.monotonic() - self.heard_at < self.config["lease_s"]:
            time.sleep(0.25)
        self.leave(3, "lease")

    def leave(self, code, cause=None):
        """Kill the worker, send `cause` if the link still works, and exit: nothing of this session stays."""
        self.kill_worker()
        if cause is not None:
            goodbye = threading.Thread(target=self.voice.say, args=("leaving",), kwargs={"cause": cause})
            goodbye.daemon = True
            goodbye.start()
            goodbye.join(1.0)
        os._exit(code)

    def kill_worker(self):
        worker = self.worker
        if worker is not None and worker.poll() is None:
            with contextlib.suppress(OSError):
                os.killpg(worker.pid, signal.SIGKILL)

    def beat(self):
        if time.monotonic() - self.beat_at > BEAT_S:
            self.beat_at = time.monotonic()
            self.voice.say("beat")

    def serve(self):
        allowed = os.sched_getaffinity(0)
        if len(self.cpus) < self.config["threads"]:
            cause = "cpus" if self.config["cpus"] is not None else "threads"
            return self.voice.say(
                "refusal", cause=cause, detail=f"CPUs {', '.join(map(str, sorted(allowed)))}"
            )
        try:
            lock = take_lock(self.config["lock_path"], self.voice)
        except OSError as error:
            return self.voice.say("refusal", cause="lock", detail=str(error))
        if allowed - set(self.cpus):
            for task in os.listdir("/proc/self/task"):  # all threads stay off the CPUs that are timed
                with contextlib.suppress(ProcessLookupError):  # it has ended
                    os.sched_setaffinity(int(task), allowed - set(self.cpus))
        found: list = []
        ended = self.supervise({"kind": "probe"}, found.append)
        if ended["outcome"] != "ok" or not found:
            detail = found[0].get("detail") if found else f"{ended['outcome']} {ended['detail']}"
            return self.voice.say("refusal", cause="engine", detail=detail)
        self.engine_version = found[0]["version"]
        about = {"engine_version": found[0]["version"], "numpy_version": found[0]["numpy"]}
        self.voice.say("hello", hardware=hardware(), context=context(self.cpus), **about)
        while True:
            try:
                frame = self.frames.get(timeout=0.5)
            except queue.Empty:
                self.beat()
                continue
            if frame["do"] == "load":
                self.points = {point["key"]: point for point in frame["points"]}
            elif frame["do"] == "run":
                self.run(frame)
            elif frame["do"] == "bye":
                self.voice.say("bye", context=context(self.cpus))
                os.close(lock)
                return None

    def run(self, frame):
        """Run one worker on some of the loaded points; a `done` line always comes last."""
        points = []
        for key in frame["keys"]:
            point = dict(self.points[key])
            if key not in frame["check"]:
                point["reference"] = None
            points.append(point)
        job = dict(frame["protocol"], kind=frame["kind"], points=points)
        job.update((name, frame.get(name)) for name in ("rounds", "reference_key", "seed", "energy"))

        def relay(message):
            self.voice.say(message.pop("t"), job=frame["job"], **message)

        self.voice.say("done", job=frame["job"], **self.supervise(job, relay))

    def supervise(self, job, relay):
        """Run a worker, pass on its messages, kill it when a step is too slow; return how it ended and where."""
        fd = os.memfd_create("hakd-progress")
        os.ftruncate(fd, 16)
        progress = mmap.mmap(fd, 16)
        struct.pack_into("qq", progress, 0, 0, -1)
        job = dict(job, threads=self.config["threads"], cpus=self.cpus)
        job.update(engine=self.config["engine"], engine_version=self.engine_version)
        job.update(progress_fd=fd, parent=os.getpid())
        # onnxruntime's telemetry writes files, uploads, and runs a thread during the timing.
        environment = dict(
            os.environ, OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", ORT_DISABLE_TELEMETRY="1"
        )
        self.worker = subprocess.Popen(
            [sys.executable, "-u", "-c", BOOT],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
            pass_fds=(fd,),
            env=environment,
            cwd="/",
        )
        os.close(fd)
        feeder = threading.Thread(target=self.feed, args=(self.worker.stdin, job), daemon=True)
        feeder.start()
        assert self.worker.stdout is not None
        with self.worker.stdout as stdout:
            finished, late = self.follow(stdout, progress, job, relay)
        self.kill_worker()
        code = self.worker.wait()
        feeder.join()
        index = struct.unpack_from("qq", progress)[1]
        progress.close()
        key = job["points"][index]["key"] if index >= 0 else None
        if finished and code == 0:
            return {"outcome": "ok", "key": None, "detail": ""}
        if late:
            return {"outcome": "timeout", "key": key, "detail": f"no progress for {late:g} s"}
        if code < 0:
            return {"outcome": "signal", "key": key, "detail": signal_name(-code)}
        return {"outcome": "exit", "key": key, "detail": f"exit status {code}"}

    def feed(self, stdin, job):
        with contextlib.suppress(OSError), stdin:
            write_frame(stdin, self.config["worker"].encode())
            write_frame(stdin, job)

    def follow(self, stdout, progress, job, relay):
        """Relay a worker's lines until it closes its output; return whether it finished, and the limit it broke."""
        rest, finished, late = b"", False, 0.0
        seen, since = None, time.monotonic()
        while True:
            if select.select([stdout], [], [], 0.25)[0]:
                data = os.read(stdout.fileno(), 1 << 16)
                if not data:
                    return finished, late
                lines = (rest + data).split(b"\n")
                rest = lines.pop()
                for message in map(json.loads, lines):
                    finished = finished or message["t"] == "end"
                    if message["t"] != "end":
                        relay(message)
            state = struct.unpack_from("qq", progress)
            limit = job["point_timeout_s"] if state[1] >= 0 else ENGINE_START_S
            if state != seen:
                seen, since = state, time.monotonic()
            elif time.monotonic() - since > limit and not late:
                late = limit
                self.kill_worker()
            self.beat()


def main():
    """Serve the client at stdin. What libraries print to fd 1 goes to stderr from here on."""
    out = os.dup(1)
    os.dup2(2, 1)
    code = 1
    try:
        config = read_frame(sys.stdin.buffer)
        if config is not None:
            Agent(config, sys.stdin.buffer, LineWriter(out, config["tag"])).serve()
        code = 0
    except Exception:
        traceback.print_exc()
    finally:
        os._exit(code)  # an ordinary exit would wait for the thread that reads stdin


if __name__ == "__main__":
    main()
