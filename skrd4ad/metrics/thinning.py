"""Leaving out points of a curve that change the area under it least."""

import numpy as np
from numpy.typing import NDArray


def thinned(
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    *,
    most: int,
    steps: bool = False,
    pinned: NDArray[np.bool_] | None = None,
) -> NDArray[np.int64]:
    """Places of at most ``most`` points of a curve, ascending; both ends and pinned points stay.

    Round by round, points go that move the area less than their neighbours would, those that move it least first.

    Args:
        x: (K,), not falling.
        y: (K,).
        most: how many points may stay; at least the ends and the pinned ones.
        steps: each point is the right end of a step of its height; else points are joined by straight lines.
        pinned: (K,), points that stay.
    """
    places = np.arange(x.size)
    stays = np.zeros(x.size, bool) if pinned is None else pinned.copy()
    stays[[0, -1]] = True
    # points that cost the same, such as those of a straight line, go in no particular order rather than end to end
    lots = np.random.default_rng(0).permutation(x.size)
    while places.size > most:
        cost = _cost(x[places], y[places], steps=steps)
        cost[stays[places]] = np.inf
        rank = np.empty(places.size, np.int64)
        rank[np.lexsort((lots[places], cost))] = np.arange(places.size)
        # of two neighbours only one goes in a round, because the other then counts for both
        lowest = (rank < np.append(places.size, rank[:-1])) & (rank < np.append(rank[1:], places.size))
        may_go = np.flatnonzero(lowest & np.isfinite(cost) & (rank <= places.size // 2))
        if not may_go.size:
            break
        cheapest = may_go[np.argsort(rank[may_go])[: places.size - most]]
        places = np.delete(places, cheapest)
    return places


def _cost(x: NDArray[np.float64], y: NDArray[np.float64], *, steps: bool) -> NDArray[np.float64]:
    """(K,): how much the area changes without each point."""
    cost = np.full(x.size, np.inf)
    if steps:
        cost[:-1] = np.abs(np.diff(x, prepend=0)[:-1] * np.diff(y))
    else:
        across, up = x[2:] - x[:-2], y[2:] - y[:-2]
        cost[1:-1] = np.abs(across * (y[1:-1] - y[:-2]) - up * (x[1:-1] - x[:-2])) / 2
    return cost
