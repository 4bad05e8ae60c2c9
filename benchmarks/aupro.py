"""AUPRO of this package against two usual ways to compute it, on maps and masks made here. From the project's folder::

    python -m benchmarks.aupro                          speed, 160 maps of 256x256
    python -m benchmarks.aupro --memory --images 10000  peak memory of pooling and all pixel metrics

Every way runs once a round, in turn, so that a busy machine slows all of them alike; the median round is printed.
"""

import argparse
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import cv2
import numpy as np
import psutil

from skrd4ad.metrics.aupro import aupro, pool_pixels
from skrd4ad.metrics.aupro_paper import aupro_paper_protocol
from skrd4ad.scratch import memory_budget, scratch_array


def make_test_set(images: int, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Smooth noise; two of three images have one to three blobs, found to different degrees."""
    rng = np.random.default_rng(0)
    maps = scratch_array((images, side, side), np.float32, what="The maps")
    masks = scratch_array((images, side, side), np.bool_, what="The masks")
    for i in range(images):
        canvas = np.zeros((side, side), np.uint8)
        for _ in range(int(rng.integers(1, 4)) if i % 3 else 0):
            centre = tuple(int(v) for v in rng.integers(0, side, 2))
            axes = tuple(int(v) for v in rng.integers(max(side // 64, 1), max(side // 10, 2), 2))
            cv2.ellipse(canvas, centre, axes, float(rng.uniform(0, 180)), 0, 360, 1, thickness=-1)
        masks[i] = canvas.astype(bool)
        noise = cv2.GaussianBlur(rng.normal(size=(side, side)).astype(np.float32), (0, 0), 4)
        maps[i] = noise + 0.08 * cv2.GaussianBlur(canvas.astype(np.float32), (0, 0), 4)
    return maps, masks


def pooled_aupro(maps: np.ndarray, masks: np.ndarray) -> float:
    """This package: MVTec's definition."""
    return aupro(pool_pixels(maps, masks)) or 0.0


def argsort_aupro(maps: np.ndarray, masks: np.ndarray, limit: float = 0.3) -> float:
    """MVTec's definition in the usual way: the whole pool in float64, in order by argsort, and cumulative sums."""
    free = np.zeros(maps.shape)
    overlap = np.zeros(maps.shape)
    regions = 0
    for i, mask in enumerate(masks):
        count, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
        free[i] = labels == 0
        for k in range(1, count):
            overlap[i][labels == k] = 1 / np.sum(labels == k)
        regions += count - 1
    scores = maps.astype(np.float64).ravel()
    order = np.argsort(scores)[::-1]
    scores = scores[order]
    fpr = np.cumsum(free.ravel()[order]) / free.sum()
    pro = np.cumsum(overlap.ravel()[order]) / regions
    last_of_ties = np.append(scores[1:] != scores[:-1], True)
    fpr, pro = np.append(0, fpr[last_of_ties]), np.append(0, pro[last_of_ties])
    end = int(np.searchsorted(fpr, limit, side="right"))
    pro_at_limit = np.interp(limit, fpr, pro)
    return float(np.trapezoid(np.append(pro[:end], pro_at_limit), np.append(fpr[:end], limit)) / limit)


def walked_paper_aupro(maps: np.ndarray, masks: np.ndarray) -> float:
    """The paper's protocol as its code goes about it: label and measure every region anew at each of 200 thresholds."""
    figures = []
    for image, mask in zip(maps.astype(np.float64), masks, strict=True):
        if not mask.any():
            continue
        fprs, pros = [], []
        for threshold in np.arange(image.min(), image.max(), (image.max() - image.min()) / 200):
            found = image > threshold
            count, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
            pros.append(np.mean([found[labels == k].mean() for k in range(1, count)]))
            fprs.append(np.logical_and(found, ~mask).sum() / (~mask).sum())
        fpr, pro = np.array(fprs)[::-1], np.array(pros)[::-1]
        kept = fpr < 0.3
        figures.append(np.trapezoid(pro[kept], fpr[kept] / fpr[kept].max()))
    return float(np.mean(figures))


def fast_paper_aupro(maps: np.ndarray, masks: np.ndarray) -> float:
    """This package: the paper's protocol."""
    return aupro_paper_protocol(maps, masks) or 0.0


def measure_speed(images: int, side: int, rounds: int) -> None:
    maps, masks = make_test_set(images, side)
    ways: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
        "pooled, this package": pooled_aupro,
        "pooled, float64 argsort": argsort_aupro,
        "paper protocol, this package": fast_paper_aupro,
        "paper protocol, walk over regions": walked_paper_aupro,
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    values: dict[str, float] = {}
    for _ in range(rounds):
        for name, way in ways.items():
            start = time.perf_counter()
            values[name] = way(maps, masks)
            seconds[name].append(time.perf_counter() - start)
    median = {name: statistics.median(times) for name, times in seconds.items()}
    share = 100 * masks.mean()
    print(f"{images} maps of {side}x{side}, {share:.1f} % of the pixels inside masks, median of {rounds} rounds")
    for name in ways:
        print(f"  {name:36} {median[name]:9.3f} s   value {values[name]:.6f}")
    first, argsort, fast, walk = (median[name] for name in ways)
    print(f"  argsort / pooled        {argsort / first:8.1f}")
    print(f"  walk / pooled           {walk / first:8.1f}")
    print(f"  walk / paper protocol   {walk / fast:8.1f}")


def measure_memory_here(images: int, side: int) -> None:
    """Peak memory of this process that is not a file's, while maps are made, pooled and measured."""
    with watched() as peak:
        start = time.perf_counter()
        maps, masks = make_test_set(images, side)
        before = peak[0]
        pool = pool_pixels(maps, masks)
        figures = [pool.auroc, pool.average_precision, pool.f1_max, aupro(pool)]
        figures += [aupro(pool, fpr_limit=0.05), aupro_paper_protocol(maps, masks)]
        elapsed = time.perf_counter() - start
    print(f"{images} maps of {side}x{side}, {len(figures)} pixel metrics: {elapsed:.0f} s, making the maps included")
    print(f"  peak memory of the process {peak[0] >> 20} MiB, of which {before >> 20} MiB before the metrics; what is")
    print(f"  above the budget of {memory_budget() >> 20} MiB an array is in files")


@contextmanager
def watched() -> Iterator[list[int]]:
    """The peak, so far, of this process's bytes that are in memory and not in a file, looked at every 20 ms."""
    process, ended = psutil.Process(), threading.Event()

    def bytes_now() -> int:
        memory = process.memory_info()
        return int(memory.rss - memory.shared)

    peak = [bytes_now()]

    def watch() -> None:
        while not ended.wait(0.02):
            peak[0] = max(peak[0], bytes_now())

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield peak
    finally:
        ended.set()
        thread.join()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=160)
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--memory", action="store_true", help="peak memory, in a process of its own")
    parser.add_argument("--memory-here", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.memory_here:
        measure_memory_here(given.images, given.side)
    elif given.memory:
        # a child, because the peak of this process may come from something else
        size = ["--images", str(given.images), "--side", str(given.side)]
        subprocess.run([sys.executable, "-m", "benchmarks.aupro", "--memory-here", *size], check=True)
    else:
        measure_speed(given.images, given.side, given.rounds)


if __name__ == "__main__":
    main()
