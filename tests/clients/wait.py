"""Waiting on a condition, with a deadline: what tests do where others would sleep."""

import time

DEADLINE_SECONDS = 30.0
PAUSE_SECONDS = 0.02


def until(condition, what, seconds=DEADLINE_SECONDS):
    """Calls `condition` until it returns something true, and returns that."""
    end = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > end:
            raise AssertionError(f"waited {seconds:.0f} s in vain: {what}; last seen: {found!r}")
        time.sleep(PAUSE_SECONDS)
