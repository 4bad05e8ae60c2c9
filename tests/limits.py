"""Upper bounds for what is broken: a working test never waits for them, however slow the machine is."""

LONG = 600.0
"""Seconds for a job, a thread or a page in this process."""
SLOW = 600_000
"""Milliseconds for something to appear in the browser."""
RETRY = 10_000
"""Milliseconds after which a click that was lost is made again."""
TRIES = 60
