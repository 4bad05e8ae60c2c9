from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from skrd4ad.errors import ConfigError, StorageError
from skrd4ad.metrics.evaluation import evaluate
from skrd4ad.scratch import in_files, scratch_array
from skrd4ad.types import EvaluationSet


@pytest.mark.parametrize(("budget", "in_file"), [("0", True), ("1", False)])
def test_above_the_budget_an_array_is_in_a_file_without_a_name(
    monkeypatch: pytest.MonkeyPatch, home: Path, budget: str, in_file: bool
) -> None:
    monkeypatch.setenv("SKRD4AD_CACHE_MB", budget)
    array = scratch_array((3, 5), np.float32, what="Maps")
    assert isinstance(array, np.memmap) is in_file
    assert array.shape == (3, 5) and array.dtype == np.float32 and not array.any()
    array[1] = 2
    assert array.sum() == 10
    assert [path for path in home.rglob("*") if path.is_file()] == []


def test_an_empty_array_needs_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SKRD4AD_CACHE_MB", "0")
    assert scratch_array((0, 4), np.bool_, what="Masks").shape == (0, 4)


def test_a_disk_that_is_too_small_is_said_with_what_and_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1000})())
    with pytest.raises(StorageError, match=r"The maps need 0\.0 GB, .* has 0\.0 GB free.*SKRD4AD_HOME"):
        in_files([901], what="The maps")
    assert [len(part) for part in in_files([500, 400], what="The maps")] == [500, 400]


def test_a_wrong_budget_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SKRD4AD_CACHE_MB", "plenty")
    with pytest.raises(ConfigError, match="SKRD4AD_CACHE_MB is 'plenty'"):
        scratch_array((1,), np.uint8, what="Maps")


def test_metrics_from_files_are_those_from_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    maps = rng.random((8, 32, 32), dtype=np.float32).round(2)
    masks = np.zeros((8, 32, 32), bool)
    masks[4:, 5:9, 3:20] = masks[6:, 20:, 25:] = True
    labels = np.repeat([0, 1], 4)

    def measured() -> dict[str, float | int | None]:
        data = EvaluationSet(
            labels=labels,
            scores=maps.max(axis=(1, 2)),
            defect_types=("good",) * 4 + ("hole",) * 4,
            maps=maps,
            masks=masks,
            has_mask=np.ones(8, bool),
            ignored=None,
        )
        return asdict(evaluate(data))

    in_memory = measured()
    monkeypatch.setenv("SKRD4AD_CACHE_MB", "0")
    assert measured() == in_memory
    assert in_memory["aupro"] is not None
