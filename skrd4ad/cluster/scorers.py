"""Scoring parts of a manifest on a cluster: Ray Data spreads them over actors that each hold the compiled model."""

import logging
import queue
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import cv2
import pyarrow as pa
import ray
import ray.data
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

import skrd4ad
from skrd4ad.cluster.connection import Cluster, workers_for
from skrd4ad.cluster.parts import PartScorer, ScoreSettings
from skrd4ad.digests import content_digest
from skrd4ad.errors import ClusterError, ConfigError
from skrd4ad.files import locked, new_folder, temporary_folder
from skrd4ad.model_folder.bundle import checked_manifest, open_bundle, unpack, write_bundle
from skrd4ad.parallel import cores
from skrd4ad.paths import workspace
from skrd4ad.task import POLL_SECONDS, Task

TRIES = 5
"""Times that a part is begun; if its process has died so often, it is not the machine."""
AHEAD = 16
"""Finished parts that wait to be written; more wait on the machines that scored them."""
SILENT_SECONDS = 120.0
"""Without a finished part, until that is said."""
_LABEL = "the model sent to this machine"


class Attempts:
    """How often each part was begun: Ray begins one again as often as its process ends."""

    def __init__(self) -> None:
        self._begun: Counter[int] = Counter()

    def begin(self, part: int) -> int:
        """Count an attempt; returns which it is, from 1."""
        self._begun[part] += 1
        return self._begun[part]


class Scorer:
    """The actor: the model of one worker process."""

    def __init__(self, bundle: "ray.ObjectRef[bytes]", settings: ScoreSettings, attempts: Any, version: str) -> None:
        if version != skrd4ad.__version__:
            raise ConfigError(
                f"A machine of the cluster has version {skrd4ad.__version__} of this program, and the command "
                f"{version}; install the same everywhere."
            )
        cv2.setNumThreads(cores())
        self._attempts = attempts
        self._scorer = PartScorer(_kept_model(ray.get(bundle)), settings)

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Columns ``part`` and ``content``, the Parquet file of each, for ``part``, ``id`` and ``path``."""
        contents = []
        for part, ids, paths in zip(*(batch[name] for name in ("part", "id", "path")), strict=True):
            if ray.get(self._attempts.begin.remote(part.as_py())) > TRIES:
                raise ClusterError(
                    f"The process that scores the images {ids[0]} to {ids[-1]} has ended {TRIES} times; one of them "
                    "may need more memory than it has."
                )
            contents.append(self._scorer.score(pa.table({"id": ids.values, "path": paths.values})))
        return pa.table({"part": batch["part"], "content": pa.array(contents, pa.large_binary())})


def scored(
    parts: Iterable[tuple[int, pa.Table]],
    folder: Path,
    settings: ScoreSettings,
    cluster: Cluster,
    *,
    threads: int,
    task: Task,
    say: Callable[[str], None],
) -> Iterator[tuple[int, bytes]]:
    """Parts as Parquet files, in the order in which they are done.

    The parts and the model go into the cluster's object store, so that its machines share no folder with this one but
    that of the images, where those are no URIs.
    """
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    attempts: Any = ray.remote(num_cpus=0, scheduling_strategy=here)(Attempts).remote()
    blocks = [ray.put(_block(part, table)) for part, table in parts]
    workers = workers_for(cluster, threads=threads, most=len(blocks))
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # what it logs as errors, it raises as well
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.raise_original_map_exception = True
    found = ray.data.from_arrow_refs(blocks).map_batches(
        Scorer,
        fn_constructor_args=(ray.put(_bundle_of(folder)), settings, attempts, skrd4ad.__version__),
        batch_size=None,
        batch_format="pyarrow",
        num_cpus=threads,
        compute=ray.data.ActorPoolStrategy(
            min_size=1,
            max_size=workers,
            initial_size=workers,
            # the next part is there when one is done, and the last ones are not kept from those who wait
            max_tasks_in_flight_per_actor=2,
        ),
    )
    for row in _watched(found.iter_rows(), cluster, task=task, say=say):
        yield int(row["part"]), row["content"]


def _block(part: int, table: pa.Table) -> pa.Table:
    """One row with all of a part: what Ray Data makes of blocks and batches, a part stays whole."""
    ends = pa.array([0, table.num_rows], pa.int64())
    lists = {name: pa.LargeListArray.from_arrays(ends, table[name].combine_chunks()) for name in ("id", "path")}
    return pa.table({"part": [part], **lists})


def _watched(
    rows: Iterable[dict[str, Any]], cluster: Cluster, *, task: Task, say: Callable[[str], None]
) -> Iterator[dict[str, Any]]:
    """Rows as they come, taken in another thread: this one can be cancelled, and says so when none comes."""
    arrived: queue.Queue[dict[str, Any] | BaseException | None] = queue.Queue(AHEAD)

    def take() -> None:
        try:
            for row in rows:
                arrived.put(row)
            arrived.put(None)
        except BaseException as error:  # noqa: BLE001 - raised again by the one who waits
            arrived.put(error)

    threading.Thread(target=take, daemon=True).start()
    waited = 0.0
    while True:
        task.check()
        try:
            row = arrived.get(timeout=POLL_SECONDS)
        except queue.Empty:
            waited += POLL_SECONDS
            if waited >= SILENT_SECONDS:
                waited = 0.0
                free = ray.available_resources().get("CPU", 0.0)
                of = sum(cluster.processors)
                say(f"No part came for {SILENT_SECONDS:g} s; of the {of:g} CPUs of the cluster {free:g} are free.")
            continue
        waited = 0.0
        if row is None:
            return
        if isinstance(row, BaseException):
            raise _translated(row) from row
        yield row


def _translated(error: BaseException) -> BaseException:
    """What the cluster raises as an error of this program, without the tracebacks of its processes."""
    if not isinstance(error, Exception):
        return error
    last = str(error).strip().rpartition("\n")[2]
    said = last.partition(": ")[2] if last.startswith("skrd4ad.errors.") else f"{type(error).__name__}: {last}"
    return ClusterError(f"The cluster did not score a part. {said} What was scored before is kept.")


def _bundle_of(folder: Path) -> bytes:
    with temporary_folder(workspace() / "cache") as scratch:
        write_bundle(folder, scratch / "model")
        return (scratch / "model").read_bytes()


def _kept_model(bundle: bytes) -> Path:
    """Folder of the model on this machine, unpacked by the first worker that asks for it."""
    parent = workspace() / "cache" / "cluster"
    parent.mkdir(parents=True, exist_ok=True)
    with open_bundle(bundle, _LABEL) as archive:
        manifest = checked_manifest(archive, _LABEL)
        folder = parent / content_digest(*sorted(part.sha256 for part in manifest.parts.values()))[:32]
        with locked(parent):
            if not folder.is_dir():
                with new_folder(folder) as temporary:
                    for name, part in manifest.parts.items():
                        (temporary / name).parent.mkdir(exist_ok=True)
                        with (temporary / name).open("wb") as file:
                            unpack(archive, name, part, file, _LABEL)
    return folder
