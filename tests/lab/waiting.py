# SPDX-License-Identifier: Apache-2.0
"""Waiting for something to be observed."""
import time


class WaitTimeout(AssertionError):
    """What was waited for did not come."""


def wait_until(what, probe, timeout=60.0, interval=0.05, alive=None):
    """Calls probe() until it returns something true and returns that.

    alive() may raise to end the waiting early (a program that died). The limit is generous: it ends hopeless
    waits and measures nothing.
    """
    deadline = time.monotonic() + timeout
    last = None
    while True:
        last = probe()
        if last:
            return last
        if alive:
            alive()
        if time.monotonic() > deadline:
            raise WaitTimeout(f"waited {timeout:.0f} s for {what}; last seen: {last!r}")
        time.sleep(interval)
