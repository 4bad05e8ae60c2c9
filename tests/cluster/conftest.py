"""A real Ray cluster of two machines' worth of processes on this one, started once a run, and images to score."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.cli.conftest import as_json

__all__ = ["as_json"]


@pytest.fixture(scope="session")
def ray_address() -> Iterator[str]:
    """Address of a head with four processors that are no more than numbers."""
    pytest.importorskip("ray", reason="Ray, the extra `cluster`, is not installed")
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from ray.cluster_utils import Cluster

    cluster = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 4, "object_store_memory": 100 * 2**20, "include_dashboard": False},
    )
    yield cluster.address
    cluster.shutdown()


@pytest.fixture
def images(tiny_data: Path, tmp_path: Path) -> Path:
    """Good and defective parts in folders, one out of focus, one that is named oddly, and a file that is no image."""
    folder = Path(shutil.copytree(tiny_data / "machined_disc" / "test", tmp_path / "images"))
    image = cv2.imread(str(folder / "good" / "000.png"))
    cv2.imwrite(str(folder / "blurred.png"), cv2.GaussianBlur(image, (0, 0), 4))
    cv2.imwrite(str(folder / "_Ü 1.webp"), np.ascontiguousarray(image[:, ::-1]))
    (folder / "broken.png").write_bytes(b"no")
    return folder
