"""What Prometheus reads at ``/metrics``.

Each worker keeps its counts in files of one folder (``PROMETHEUS_MULTIPROC_DIR``), and any of them answers with the
sums; those of a worker that was killed stay in them.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import psutil
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, multiprocess
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from skrd4ad.serve.models import ServedModels
from skrd4ad.services.models.list import model_name
from skrd4ad.types import Outcome

FOLDER = "PROMETHEUS_MULTIPROC_DIR"
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_IMAGES = (1, 2, 4, 8)


class ServeMetrics:
    """The counts of one worker."""

    def __init__(self, models: ServedModels) -> None:
        self._models = _ModelVersions(models)
        self._registry = registry = CollectorRegistry()
        self.seconds = Histogram(
            "skrd4ad_request_seconds",
            "From the head of a request to its answer",
            ["path"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.answers = Counter("skrd4ad_answers", "Answers by their HTTP status", ["path", "status"], registry=registry)
        self._verdicts = Counter(
            "skrd4ad_verdicts", "Inspected images by model and verdict", ["model", "verdict"], registry=registry
        )
        self.batches = Histogram(
            "skrd4ad_batch_images", "Images looked at together", buckets=_IMAGES, registry=registry
        )
        self.requests = Gauge(
            "skrd4ad_inspections_in_progress",
            "Inspections under way or waiting",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self.waiting = Gauge(
            "skrd4ad_images_waiting",
            "Images that no thread has taken yet",
            registry=registry,
            multiprocess_mode="livesum",
        )

    def count_verdict(self, model: str, outcome: Outcome) -> None:
        """Count an image that was looked at."""
        self._verdicts.labels(model, outcome).inc()

    def text(self) -> bytes:
        """All counts, in Prometheus's text format."""
        counts = self._registry
        if FOLDER in os.environ:
            _forget_dead(Path(os.environ[FOLDER]))
            counts = CollectorRegistry()
            multiprocess.MultiProcessCollector(counts)
        versions = CollectorRegistry()
        versions.register(self._models)
        return generate_latest(counts) + generate_latest(versions)


def _forget_dead(folder: Path) -> None:
    """Take the inspections of killed workers out of the sums of what is under way."""
    pids = {int(file.stem.rpartition("_")[2]) for file in folder.glob("gauge_live*.db")}
    for pid in pids:
        if not psutil.pid_exists(pid):
            multiprocess.mark_process_dead(pid, str(folder))


class _ModelVersions(Collector):
    """Which model and which calibration answers now; read from the disk, so that all workers say the same."""

    def __init__(self, models: ServedModels) -> None:
        self._models = models

    def collect(self) -> Iterator[Metric]:
        """One value a model."""
        versions = GaugeMetricFamily(
            "skrd4ad_calibration_version",
            "Calibration that verdicts are made with, 0 for none, by model and the digest of its weights",
            labels=["model", "digest"],
        )
        for info in self._models.all():
            version = 0 if info.calibration is None else info.calibration.version
            versions.add_metric([model_name(info), info.digest[:12]], version)
        yield versions
