import io
import json
import struct

import numpy as np
import pytest
from PIL import Image

from skrd4ad.errors import ConfigError, DataError
from skrd4ad.ui.components.envelope import pack, unpack
from skrd4ad.ui.components.map_viewer import LARGEST_SIDE, ViewerState, _state, map_viewer
from skrd4ad.ui.components.pictures import jpeg

HEADER = {"id": "prüfling 7", "limit": 0.61, "levels": None}
BLOBS = {"image": b"\xff\xd8\x00", "empty": b"", "map": bytes(range(256))}


def test_a_payload_comes_back_as_it_was() -> None:
    assert unpack(pack(HEADER, BLOBS)) == (HEADER, BLOBS)


def test_the_layout_is_length_header_blobs() -> None:
    payload = pack({"a": 1}, {"x": b"xyz", "y": b"7"})
    (length,) = struct.unpack_from("<I", payload)
    assert json.loads(payload[4 : 4 + length]) == {"a": 1, "blobs": {"x": [0, 3], "y": [3, 1]}}
    assert payload[4 + length :] == b"xyz7"


def test_a_header_that_takes_the_name_of_the_table_is_refused() -> None:
    with pytest.raises(DataError, match="blobs"):
        pack({"blobs": 1}, {})


@pytest.mark.parametrize("payload", [b"", b"\x05", pack(HEADER, BLOBS)[:-1], pack(HEADER, BLOBS)[:9], b"\2\0\0\0[]"])
def test_a_broken_payload_is_refused(payload: bytes) -> None:
    with pytest.raises(DataError, match="payload"):
        unpack(payload)


def test_jpegs_keep_thin_coloured_lines() -> None:
    image = np.full((32, 32, 3), 128, np.uint8)
    image[:, 16] = (200, 40, 40)
    decoded = np.asarray(Image.open(io.BytesIO(jpeg(image))))
    assert np.abs(decoded.astype(int) - image).max() < 40
    assert np.abs(decoded.astype(int) - image).mean() < 3


def payload(**changes) -> tuple[dict, dict]:
    settings = {
        "image": np.zeros((20, 30, 3), np.uint8),
        "anomaly_map": np.linspace(0, 1, 8 * 8, dtype=np.float32).reshape(8, 8),
        "image_id": "a",
        "threshold": 0.5,
        "top": 1.0,
    } | changes
    sent: list[bytes] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("skrd4ad.ui.components.map_viewer._component", lambda **given: sent.append(given["data"]) or {})
        map_viewer(key="viewer", **settings)
    return unpack(sent[0])


def test_the_viewer_gets_the_map_without_loss() -> None:
    anomaly_map = np.random.default_rng(0).random((5, 7)).astype(np.float32)
    header, blobs = payload(anomaly_map=anomaly_map)
    assert header["map"] == {"width": 7, "height": 5}
    assert (np.frombuffer(blobs["map"], "<f4").reshape(5, 7) == anomaly_map).all()
    assert (header["width"], header["height"]) == (30, 20)


def test_levels_share_one_scale() -> None:
    levels = np.stack([np.full((4, 4), 0.5), np.full((4, 4), 2.0)])
    header, blobs = payload(level_maps=levels, level_names=("fine", "coarse"))
    assert header["levels"] == {"names": ["fine", "coarse"], "width": 4, "height": 4, "top": 2.0}
    assert np.frombuffer(blobs["levels"], np.uint8).reshape(2, -1).tolist() == [[64] * 16, [255] * 16]


def test_constant_zero_levels_are_shown_as_zero() -> None:
    header, blobs = payload(level_maps=np.zeros((1, 2, 2)), level_names=("only",))
    assert header["levels"]["top"] == 0 and set(blobs["levels"]) == {0}


def test_comparison_maps_keep_their_order_and_their_own_sizes_without_loss() -> None:
    rng = np.random.default_rng(0)
    maps = {"no skip": rng.random((8, 8)).astype(np.float32), "1 skip": rng.random((4, 6)).astype(np.float32)}
    header, blobs = payload(comparison_maps=maps)
    assert header["others"] == [
        {"name": "no skip", "width": 8, "height": 8},
        {"name": "1 skip", "width": 6, "height": 4},
    ]
    assert blobs["other-1"] == maps["no skip"].tobytes()
    assert blobs["other-2"] == maps["1 skip"].tobytes()


def test_large_pictures_are_made_smaller_for_viewing() -> None:
    header, blobs = payload(image=np.zeros((40, LARGEST_SIDE * 2, 3), np.uint8))
    assert Image.open(io.BytesIO(blobs["image"])).size == (LARGEST_SIDE, 20)
    assert header["width"] == LARGEST_SIDE * 2


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"image": np.zeros((4, 4), np.uint8)}, DataError),
        ({"anomaly_map": np.full((4, 4), np.nan)}, DataError),
        ({"anomaly_map": np.zeros((2, 4, 4))}, DataError),
        ({"threshold": float("nan")}, ConfigError),
        ({"opacity": 60}, ConfigError),
        ({"colour_map": "jet"}, ConfigError),
        ({"level_maps": np.zeros((3, 4, 4)), "level_names": ("one",)}, DataError),
        ({"mask": np.zeros((4, 4, 3), bool)}, DataError),
        ({"pitch": 0.0}, ConfigError),
        ({"comparison_maps": {"no skip": np.full((4, 4), np.inf)}}, DataError),
        ({"comparison_maps": {"no skip": np.zeros(16)}}, DataError),
    ],
)
def test_wrong_input_is_refused(changes: dict, error: type[Exception]) -> None:
    with pytest.raises(error):
        payload(**changes)


def test_a_choice_is_read_and_a_choice_against_another_limit_is_stale() -> None:
    choice = {"threshold": 0.7, "limit": 0.5, "view": "map"}
    assert _state(choice, limit=0.5) == ViewerState(threshold=0.7, view="map")
    assert _state(choice, limit=0.6) is None
    assert _state(None, limit=0.5) is None
