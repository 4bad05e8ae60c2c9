"""Ranges of figures of the training images."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Band:
    """Range of one figure."""

    seen_low: float
    """Smallest value of a training image."""
    median: float
    seen_high: float
    """Largest value of a training image."""
    low: float | None = None
    """Values below cannot be judged; None: no value is too low."""
    high: float | None = None
    """Values above cannot be judged; None: no value is too high."""

    def side(self, value: float) -> int:
        """-1 below the range, 0 inside, 1 above."""
        if self.low is not None and value < self.low:
            return -1
        return int(self.high is not None and value > self.high)
