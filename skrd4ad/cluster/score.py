"""Scoring a manifest of images into Parquet, on this machine or on a cluster, and going on where it was interrupted.

The folder of the results holds ``manifest.parquet``, ``run.json``, which says what scores are made with, and a file in
``scores`` for each part of the manifest. Each file is written in one go by the process that was started, so what is
there is whole; an id is in one part, so it is scored into one file, once. Names of parts are in the order of the ids.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, fields, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from skrd4ad import documents
from skrd4ad.cluster.connection import connected
from skrd4ad.cluster.manifest import Manifest, write_manifest
from skrd4ad.cluster.parts import PartScorer, ScoreSettings
from skrd4ad.digests import content_digest, file_digest
from skrd4ad.documents import to_plain
from skrd4ad.errors import ConfigError, DataError
from skrd4ad.files import new_file, sweep, temporary_folder, write_json
from skrd4ad.inference.tiling import Tiling
from skrd4ad.model_folder.info import REFERENCE, has_guards, read_info
from skrd4ad.services.access import require
from skrd4ad.task import QUIET, Task
from skrd4ad.types import Outcome

MANIFEST, RUN, SCORES = "manifest.parquet", "run.json", "scores"
FORMAT = 1
_ELSEWHERE = "Choose another --out, or delete this folder."


@dataclass(frozen=True, kw_only=True)
class ScoreRequest:
    """Which images are to be scored, by what, and into what."""

    source: str
    """See :func:`skrd4ad.cluster.manifest.write_manifest`."""
    out: Path
    """Folder of the results; what is there of the same run is kept."""
    model: Path
    """Model folder."""
    settings: ScoreSettings
    part_images: int
    """Of a part: what is scored and kept together."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """What scores are made with: ``run.json``. Another value makes other scores, or puts them into other files."""

    manifest: str
    """Digest, as that of the model, of what its guards know and of its calibration; empty where it has none."""
    model: str
    reference: str
    calibration: str
    part_images: int
    threshold: float | None
    tiling: Tiling
    runtime: str


@dataclass(frozen=True, kw_only=True)
class Scored:
    """What became of the images."""

    run: Run
    images: int
    scored: int
    """Of them now; the others were there."""
    counts: Counter[Outcome]


def score(
    request: ScoreRequest,
    *,
    cluster: str | None = None,
    threads: int = 1,
    task: Task = QUIET,
    say: Callable[[str], None] = lambda _: None,
) -> Scored:
    """Score images into Parquet.

    Args:
        request: which, by what, and into what.
        cluster: address of a cluster, see :func:`skrd4ad.cluster.connection.connected`; None for this process.
        threads: processors of each worker of the cluster.
        task: told how many images are done, and asked between them.
        say: takes a line for people.

    Raises:
        AccessError: who acts may not inspect images.
        ConfigError: a setting is not allowed, or the folder holds scores of another run.
        DataError: the source names no images, or what is in the folder is damaged.
        ClusterError: the cluster cannot be reached, or did not do it.
    """
    require("inspector", "inspect images")
    out = request.out
    if "://" not in request.source and Path(request.source).resolve() == out.resolve():
        raise ConfigError(f"The results cannot go to {out}, which holds the images; choose another --out.")
    scorer = PartScorer(request.model, request.settings)
    manifest, run = _begin(request, runtime=scorer.runtime)
    sizes = manifest.sizes
    missing = [part for part, _ in enumerate(sizes) if not _file(out, part).is_file()]
    done = manifest.images - sum(sizes[part] for part in missing)
    if done:
        say(f"{done} of {manifest.images} images are scored already.")
    task.report(done, manifest.images)
    with ExitStack() as stack:
        if cluster is None or not missing:
            results: Iterator[tuple[int, bytes]] = (
                (part, scorer.score(table, task=task)) for part, table in manifest.parts(missing)
            )
        else:
            from skrd4ad.cluster.scorers import scored  # Ray takes seconds

            joined = stack.enter_context(connected(cluster, threads=threads))
            say(f"Scoring on {joined.words}.")
            # the same runtime everywhere, whatever was measured on those machines
            settings = replace(request.settings, runtime=scorer.runtime.split()[0])  # type: ignore[arg-type]
            del scorer
            results = scored(
                manifest.parts(missing), request.model, settings, joined, threads=threads, task=task, say=say
            )
        for part, content in results:
            with new_file(_file(out, part), error=DataError) as temporary:
                temporary.write_bytes(content)
            done += sizes[part]
            task.report(done, manifest.images)
    return Scored(
        run=run, images=manifest.images, scored=sum(sizes[part] for part in missing), counts=_counted(out, sizes)
    )


def _begin(request: ScoreRequest, *, runtime: str) -> tuple[Manifest, Run]:
    """The manifest in the folder of the results, and the run, once it is sure that what is there belongs to it."""
    out, info = request.out, read_info(request.model)
    with temporary_folder(out) as scratch:
        manifest = write_manifest(request.source, scratch / MANIFEST, part_images=request.part_images)
        run = Run(
            manifest=manifest.digest,
            model=info.digest,
            reference=file_digest(info.folder / REFERENCE) if has_guards(info.folder) else "",
            calibration="" if info.calibration is None else content_digest(json.dumps(to_plain(info.calibration))),
            part_images=request.part_images,
            threshold=request.settings.threshold,
            tiling=request.settings.tiling,
            runtime=runtime,
        )
        if (out / RUN).is_file():
            _require_same(documents.read(out / RUN, Run, format=FORMAT, remedy=_ELSEWHERE), run, out)
        elif (out / SCORES).is_dir():
            raise DataError(
                f"{out / SCORES} is there, and {out / RUN}, which says what it was made with, is not. {_ELSEWHERE}"
            )
        manifest.file.replace(out / MANIFEST)
    write_json(out / RUN, run, format=FORMAT)
    sweep(out)
    return replace(manifest, file=out / MANIFEST), run


def _require_same(found: Run, wanted: Run, out: Path) -> None:
    different = [each.name for each in fields(Run) if getattr(found, each.name) != getattr(wanted, each.name)]
    if different:
        raise ConfigError(f"{out} holds scores of another run; different: {', '.join(different)}. {_ELSEWHERE}")


def _file(out: Path, part: int) -> Path:
    return out / SCORES / f"part-{part:07}.parquet"


def _counted(out: Path, sizes: Sequence[int]) -> Counter[Outcome]:
    """Outcomes of all parts, read from the files."""
    counts: Counter[Outcome] = Counter()
    for part, size in enumerate(sizes):
        file = _file(out, part)
        try:
            rows = pq.read_table(file, columns=["verdict", "error"])
        except (OSError, pa.ArrowException) as error:
            raise DataError(f"{file} cannot be read: {error}. Delete it, and score again.") from error
        if rows.num_rows != size:
            raise DataError(f"{file} holds {rows.num_rows} images, not {size}. Delete it, and score again.")
        for verdict, problem in zip(rows["verdict"].to_pylist(), rows["error"].to_pylist(), strict=True):
            counts["UNREADABLE" if problem is not None else verdict or "NO LIMIT"] += 1
    return counts
