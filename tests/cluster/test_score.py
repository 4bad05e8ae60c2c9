"""Scoring into Parquet without a cluster: what is read, what is written, and what is done again."""

import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from skrd4ad.cluster import manifest as manifests
from skrd4ad.cluster.connection import Cluster, connected, workers_for
from skrd4ad.cluster.manifest import write_manifest
from skrd4ad.cluster.parts import ScoreSettings
from skrd4ad.cluster.score import ScoreRequest, score
from skrd4ad.errors import AccessError, ClusterError, ConfigError, DataError
from skrd4ad.model_folder.folder import save_calibration
from skrd4ad.model_folder.info import ModelInfo, read_info
from skrd4ad.services.access import Actor, acting_as
from tests.cluster.rows import expected_rows, rows_of

Run = Callable[..., tuple[int, Any]]


def write(file: Path, **columns: list[Any]) -> Path:
    pq.write_table(pa.table(columns), file)
    return file


def test_rows_are_those_of_predict_and_what_is_there_is_not_scored_again(
    trained: ModelInfo, images: Path, tmp_path: Path, as_json: Run
) -> None:
    given = [images, "--model", trained.folder]
    code, predicted = as_json("predict", *given, "--out", tmp_path / "predicted")
    out = tmp_path / "out"
    assert code == 1 and as_json("score", *given, "--out", out, "--part", 4)[0] == 1
    assert rows_of(out) == expected_rows(predicted, images)
    assert {row["verdict"] for row in rows_of(out)} >= {"NG", "CANNOT JUDGE", None}

    files = sorted((out / "scores").iterdir())
    times = [file.stat().st_mtime_ns for file in files]
    files[1].unlink()
    _, again = as_json("score", *given, "--out", out, "--part", 4)
    assert again["scored"] == 4 and again["counts"] == predicted["counts"]
    assert [file.stat().st_mtime_ns == time for file, time in zip(files, times, strict=True)] == [
        n != 1 for n in range(len(files))
    ]
    assert rows_of(out) == expected_rows(predicted, images)


def test_another_run_does_not_mix_with_what_is_there(
    trained: ModelInfo, images: Path, tmp_path: Path, as_json: Run
) -> None:
    given = [images, "--model", trained.folder, "--out", tmp_path / "out"]
    as_json("score", *given)
    before = rows_of(tmp_path / "out")
    for options, named in ((["--threshold", 3], "threshold"), (["--tiled", "off"], "tiling"), (["--part", 2], "part")):
        code, document = as_json("score", *given, *options)
        assert code == 2 and f"different: {named}" in document["error"]
    calibration = read_info(trained.folder).calibration
    assert calibration is not None
    save_calibration(trained.folder, replace(calibration, image_threshold=99.0))
    assert "different: calibration" in as_json("score", *given)[1]["error"]
    (images / "new.png").write_bytes(b"")
    assert "different: manifest, calibration" in as_json("score", *given)[1]["error"]
    assert rows_of(tmp_path / "out") == before
    assert as_json("score", *given[:-1], images)[0] == 2


def test_a_viewer_may_not_score(tmp_path: Path) -> None:
    request = ScoreRequest(
        source="x", out=tmp_path / "out", model=tmp_path, settings=ScoreSettings(runtime="auto"), part_images=1
    )
    with acting_as(Actor("Ada", "viewer")), pytest.raises(AccessError, match="the role inspector is needed"):
        score(request)
    assert not (tmp_path / "out").exists()


def test_damage_is_named(trained: ModelInfo, images: Path, tmp_path: Path, as_json: Run) -> None:
    given = [images, "--model", trained.folder, "--out", tmp_path / "out"]
    as_json("score", *given)
    file = next((tmp_path / "out" / "scores").iterdir())
    pq.write_table(pq.read_table(file).slice(1), file)
    assert f"{file} holds" in as_json("score", *given)[1]["error"]
    file.write_bytes(b"cut")
    assert f"{file} cannot be read" in as_json("score", *given)[1]["error"]
    (tmp_path / "out" / "run.json").write_text("{}")
    assert "run.json" in as_json("score", *given)[1]["error"]
    (tmp_path / "out" / "run.json").unlink()
    assert "is not" in as_json("score", *given)[1]["error"]


def test_a_manifest_names_files_and_uris_and_what_cannot_be_had_is_a_row(
    trained: ModelInfo, images: Path, tmp_path: Path, as_json: Run
) -> None:
    part = images / "good" / "000.png"
    with zipfile.ZipFile(tmp_path / "batch.zip", "w") as archive:
        archive.write(part, "a/1.png")
    zipped = f"zip://a/1.png::{(tmp_path / 'batch.zip').as_uri()}"
    paths = ["images/good/000.png", str(part), part.as_uri(), zipped, "gone.png", f"{tmp_path.as_uri()}/gone.png"]
    source = write(tmp_path / "m.parquet", path=paths, id=[6, 5, 4, 3, 2, 1], line=["a"] * 6)
    code, document = as_json("score", source, "--model", trained.folder, "--out", tmp_path / "out")
    rows = rows_of(tmp_path / "out")
    assert code == 1 and document["counts"]["UNREADABLE"] == 2
    assert [row["id"] for row in rows] == ["1", "2", "3", "4", "5", "6"]
    assert len({row["score"] for row in rows[2:]}) == 1 and rows[2]["score"] is not None
    assert all("gone.png" in row["error"] and row["score"] is None for row in rows[:2])


@pytest.mark.parametrize(
    ("columns", "problem"),
    [
        ({"path": ["a.png", "b.png"], "id": ["x", "x"]}, "'x' stands for two images"),
        ({"path": ["a.png", None]}, "rows without path"),
        ({"path": ["a.png"], "id": [""]}, "rows without id"),
        ({"image": ["a.png"]}, "no column path; it has: image"),
        ({"path": ["nowhere://a.png"]}, "nowhere"),
        ({"path": []}, "names no images"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_a_manifest_that_cannot_be_used_is_explained(
    columns: dict[str, list[Any]], problem: str, tmp_path: Path
) -> None:
    source = write(tmp_path / "m.parquet", **columns)
    with pytest.raises(DataError, match=problem):
        write_manifest(str(source), tmp_path / "out.parquet", part_images=10)
    assert not (tmp_path / "out.parquet").exists() or not pq.read_metadata(tmp_path / "out.parquet").num_rows


def test_sources_that_are_none_are_explained(tmp_path: Path) -> None:
    (tmp_path / "text.parquet").write_text("no")
    (tmp_path / "empty").mkdir()
    for name, problem in (("gone", "There is no"), ("text.parquet", "cannot be read"), ("empty", "names no images")):
        with pytest.raises(DataError, match=problem):
            write_manifest(str(tmp_path / name), tmp_path / "out.parquet", part_images=10)


def test_a_manifest_too_long_to_be_sorted_here_comes_sorted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"{number:03}" for number in range(25)]
    monkeypatch.setattr(manifests, "MOST_SORTED", 10)
    source = tmp_path / "m.parquet"
    pq.write_table(pa.table({"path": names}), source, row_group_size=7)
    made = write_manifest(str(source), tmp_path / "out.parquet", part_images=4)
    assert made.sizes == [4, 4, 4, 4, 4, 4, 1] and made.images == 25
    assert [row["id"] for _, part in made.parts(range(7)) for row in part.to_pylist()] == names
    for wrong in (12, 13):  # within a part, and where one begins
        names[wrong - 1], names[wrong] = names[wrong], names[wrong - 1]
        pq.write_table(pa.table({"path": names}), source, row_group_size=7)
        with pytest.raises(DataError, match="is not sorted"):
            write_manifest(str(source), tmp_path / "out.parquet", part_images=4)
        names.sort()


def machines(*processors: float) -> Cluster:
    return Cluster(address="here", processors=processors, free=sum(processors))


def test_workers_leave_a_processor_free_and_fit_on_the_machines() -> None:
    assert [workers_for(machines(*each), threads=2, most=99) for each in ((3,), (4,), (5, 2), (3, 3, 3))] == [
        1,
        1,
        3,
        3,
    ]
    assert workers_for(machines(64), threads=1, most=5) == 5
    for few in ((1,), (), (0.5, 0.5)):
        with pytest.raises(ConfigError, match="CPUs, and a worker needs 1"):
            workers_for(machines(*few), threads=1, most=9)
    with pytest.raises(ConfigError, match=r"3 \+ 3 CPUs, and a worker needs 4"):
        workers_for(machines(3, 3), threads=4, most=9)


@pytest.mark.parametrize("address", ["", "here", "ray://head:10001", "head:x", "http://head:80"])
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(ConfigError, match="HOST:PORT"), connected(address, threads=1):
        raise AssertionError


def test_a_cluster_that_is_not_there_is_said_at_once() -> None:
    with pytest.raises(ClusterError, match="Nobody answers at"), connected("127.0.0.1:9", threads=1):
        raise AssertionError
