# SPDX-License-Identifier: Apache-2.0
"""A program that runs in the background and writes a log."""
import ctypes
import os
import pathlib
import signal
import subprocess
import time

PR_SET_CHILD_SUBREAPER = 36


def adopt_orphans():
    """What our programs leave behind becomes our child, so that reap_orphans() can end it."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _children_of(parent):
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                stat = pathlib.Path(f"/proc/{entry}/stat").read_text()
            except OSError:
                continue
            if int(stat.rpartition(")")[2].split()[1]) == parent:
                found.append(int(entry))
    return found


def descendants(parent=None):
    """Process ids below us, deepest first."""
    found = []
    for child in _children_of(parent or os.getpid()):
        found += descendants(child) + [child]
    return found


def reap_orphans():
    """Kills every process below us and waits for it."""
    for _ in range(50):
        left = descendants()
        if not left:
            return
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        time.sleep(0.02)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            pass


class Program:
    """One run of a program; start() may be called again after stop() or kill()."""

    def __init__(self, name, command, log, environment=None):
        self.name = name
        self.command = [str(part) for part in command]
        self.log = pathlib.Path(log)
        self.environment = dict(os.environ, **(environment or {}))
        self.process = None

    def start(self):
        assert not self.is_running(), f"{self.name} runs already"
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            env=self.environment, start_new_session=True)
        return self

    def is_running(self):
        return self.process is not None and self.process.poll() is None

    def assert_running(self):
        if not self.is_running():
            raise AssertionError(f"{self.name} ended with {self.process and self.process.returncode}:\n{self.tail()}")

    def tail(self, lines=30):
        if not self.log.exists():
            return ""
        written = self.log.read_text(errors="replace").splitlines()
        # A sanitizer's report says what happened in its first lines, and draws memory in its last.
        report = next((i for i, line in enumerate(written) if "ERROR: AddressSanitizer" in line or "runtime error:" in line), None)
        return "\n".join(written[-lines:] if report is None else written[report:report + 2 * lines])

    def signal(self, number):
        self.process.send_signal(number)

    def stop(self, timeout=20):
        """Asks it to end; returns the exit code."""
        if self.is_running():
            self.process.terminate()
            try:
                self.process.wait(timeout)
            except subprocess.TimeoutExpired:
                self.kill()
                raise AssertionError(f"{self.name} did not stop within {timeout} s of SIGTERM:\n{self.tail()}")
        return self.process.returncode if self.process else None

    def kill(self):
        """SIGKILL, as a power cut would look to the rest."""
        if self.is_running():
            self.process.kill()
            self.process.wait()

    def pid(self):
        return self.process.pid

    def status_kb(self, key):
        """A line of /proc/PID/status in KiB, such as VmRSS."""
        for line in open(f"/proc/{self.pid()}/status", encoding="ascii"):
            if line.startswith(key + ":"):
                return int(line.split()[1])
        raise KeyError(key)
