from typing import Any

import numpy as np
import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from skrd4ad.errors import ConfigError, DataError
from skrd4ad.ui.components.envelope import unpack
from skrd4ad.ui.components.mask_brush import _follow, _mask, _payload, _read, _Sent, _tell, mask_brush
from skrd4ad.ui.components.runs import decode_runs, encode_runs
from tests.limits import LONG

IMAGE = np.full((6, 9, 3), 90, np.uint8)
MASK = np.zeros((6, 9), bool)
MASK[2:4, 3:7] = True


def report(name: str = "a", rev: int = 1, mask: np.ndarray = MASK) -> dict[str, Any]:
    return {"id": name, "rev": rev, "w": mask.shape[1], "h": mask.shape[0], "runs": encode_runs(mask)}


# ---- run lengths ----


@pytest.mark.parametrize(
    ("mask", "runs"),
    [
        ([[0, 0, 1], [1, 0, 0]], [2, 2, 2]),
        ([[1, 0], [0, 1]], [0, 1, 2, 1]),
        ([[0, 0], [0, 0]], [4]),
        ([[1, 1], [1, 1]], [0, 4]),
        ([[1]], [0, 1]),
    ],
)
def test_runs_are_row_by_row_and_begin_with_zeros(mask: list, runs: list[int]) -> None:
    array = np.array(mask, bool)
    assert encode_runs(array) == runs
    np.testing.assert_array_equal(decode_runs(runs, width=array.shape[1], height=array.shape[0]), array)


@pytest.mark.parametrize("seed", range(8))
def test_a_round_trip_changes_nothing(seed: int) -> None:
    rng = np.random.default_rng(seed)
    mask = rng.random(rng.integers(1, 40, 2)) < rng.random()
    runs = encode_runs(mask)
    assert all(type(run) is int for run in runs) and all(run > 0 for run in runs[1:])
    np.testing.assert_array_equal(decode_runs(runs, width=mask.shape[1], height=mask.shape[0]), mask)


def test_a_view_of_a_mask_is_read_as_it_looks() -> None:
    mask = np.random.default_rng(0).random((7, 5)) < 0.5
    np.testing.assert_array_equal(decode_runs(encode_runs(mask.T), width=7, height=5), mask.T)


@pytest.mark.parametrize(
    "runs",
    [
        [3],
        [3, 4],
        [7, -1],
        [-1, 7],
        [],
        [2**70],
        [2**63, 6],
        [2**62, 2**62, 2**62, 2**62, 6],
        [6.0],
        ["6"],
        [True],
        [[6]],
        [[1], [2, 3]],
        [None],
        None,
        "6",
        6,
        {"6": 6},
    ],
)
def test_runs_that_are_no_mask_of_that_size_are_refused(runs: object) -> None:
    with pytest.raises(DataError):
        decode_runs(runs, width=3, height=2)


@pytest.mark.parametrize(("width", "height"), [(0, 4), (4, 0), (-2, -3)])
def test_a_mask_without_pixels_is_refused(width: int, height: int) -> None:
    with pytest.raises(DataError, match="at least 1 x 1"):
        decode_runs([6], width=width, height=height)


@pytest.mark.parametrize("mask", [np.zeros((2, 2)), np.zeros(4, bool), np.zeros((0, 3), bool)])
def test_what_is_no_mask_has_no_runs(mask: np.ndarray) -> None:
    with pytest.raises(DataError, match="bool"):
        encode_runs(mask)


# ---- what goes to the browser ----


def test_the_payload_holds_image_mask_and_map() -> None:
    anomaly_map = np.random.default_rng(1).random((4, 5))
    header, blobs = unpack(_payload({"id": "a"}, IMAGE, mask=MASK, anomaly_map=anomaly_map, threshold=0.6))
    assert header == {"id": "a", "width": 9, "height": 6, "map": {"width": 5, "height": 4}, "threshold": 0.6}
    np.testing.assert_array_equal(np.frombuffer(blobs["runs"], "<u4"), encode_runs(MASK))
    np.testing.assert_array_equal(np.frombuffer(blobs["map"], "<f4").reshape(4, 5), anomaly_map.astype(np.float32))
    assert blobs["image"].startswith(b"\xff\xd8")


def test_without_a_mask_the_drawing_starts_empty_and_without_a_map_there_is_none() -> None:
    header, blobs = unpack(_payload({}, IMAGE, mask=None, anomaly_map=None, threshold=None))
    assert header["map"] is None and set(blobs) == {"image", "runs"}
    assert np.frombuffer(blobs["runs"], "<u4").tolist() == [54]


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"image": IMAGE[..., 0]}, DataError, "H, W, 3"),
        ({"image": IMAGE.astype(float)}, DataError, "uint8"),
        ({"mask": MASK.T}, DataError, "size of the image"),
        ({"mask": MASK.astype(np.uint8)}, DataError, "bool"),
        ({"anomaly_map": np.full((3, 3), np.nan)}, DataError, "finite"),
        ({"anomaly_map": np.zeros((3, 3, 1))}, DataError, "H, W"),
        ({"threshold": float("inf")}, ConfigError, "finite"),
        ({"colour": "red"}, ConfigError, "ignore, defect"),
        ({"max_height": 50}, ConfigError, "200"),
    ],
)
def test_wrong_input_is_refused(change: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        mask_brush(**({"image": IMAGE, "image_id": "a", "key": "refused"} | change))


# ---- what comes back ----


def test_a_report_is_the_mask_of_the_image() -> None:
    np.testing.assert_array_equal(_mask(_read({"mask": report(rev=3)}), (6, 9)), MASK)
    assert _read(None) is None and _read({}) is None and _read({"mask": None}) is None


@pytest.mark.parametrize(
    "wrong", [{"rev": "1"}, {"rev": None}, {"id": 4}, {"w": 9.5}, {"h": True}, {"w": 6, "h": 9}, {"runs": [53]}]
)
def test_a_report_that_is_none_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(DataError):
        _mask(_read({"mask": report() | wrong}), (6, 9))


@pytest.mark.parametrize("wrong", ["mask", [1, 2], 7])
def test_a_report_of_another_kind_is_refused(wrong: object) -> None:
    with pytest.raises(DataError):
        _read({"mask": wrong})


START = _Sent(image_id="a", base=0, revision=0, start="s", payload=b"p")


def test_what_the_browser_has_stays_while_the_user_draws() -> None:
    assert _follow(START, None, image_id="a") == START
    drawn = _follow(START, report(rev=1), image_id="a")
    assert drawn.drawn and drawn.payload == b"p"
    assert _follow(drawn, report(rev=7), image_id="a").payload == b"p"


def test_another_image_starts_anew_and_old_reports_of_it_do_not_count() -> None:
    drawn = _follow(START, report(rev=4), image_id="a")
    other = _follow(drawn, report(rev=4), image_id="b")
    assert (other.image_id, other.base, other.drawn, other.payload) == ("b", 4, False, b"")
    back = _follow(_follow(other, report("b", rev=5), image_id="b"), report("b", rev=5), image_id="a")
    assert back.base == 5 and not back.drawn
    assert not _follow(back, report("a", rev=5), image_id="a").drawn
    assert _follow(back, report("a", rev=6), image_id="a").drawn


def test_a_component_that_comes_back_to_the_page_starts_from_pythons_mask() -> None:
    drawn = _follow(START, report(rev=4), image_id="a")
    back = _follow(drawn, None, image_id="a")
    assert (back.base, back.payload, back.drawn) == (4, b"", False)


def test_a_report_that_is_older_than_the_session_counts() -> None:
    assert _follow(None, report(rev=2), image_id="a").drawn
    assert not _follow(None, report("b", rev=2), image_id="a").drawn


def test_a_change_is_told_before_the_page_runs() -> None:
    told: list[tuple[str, np.ndarray]] = []

    def tell(value: object, sent: _Sent | None = START) -> int:
        _tell(lambda name, mask: told.append((name, mask)), value, sent, (6, 9))
        return len(told)

    assert tell({"mask": report(rev=2)}) == 1
    assert told[0][0] == "a" and told[0][1].sum() == 8
    assert tell({"mask": report("b", rev=3)}) == 1
    assert tell({"mask": report(rev=0)}) == 1
    assert tell({"mask": report() | {"runs": [1]}}) == 1
    assert tell({"mask": "?"}) == 1
    assert tell({"mask": report()}, None) == 1


# ---- in a page ----


def page() -> None:
    import numpy as np
    import streamlit as st

    from skrd4ad.errors import DataError
    from skrd4ad.ui.components.mask_brush import mask_brush

    name = st.radio("image", ["a", "b"])
    try:
        mask = mask_brush(np.zeros((6, 9, 3), np.uint8), image_id=name, key="brush")
    except DataError as error:
        st.error(str(error))
    else:
        st.code("none" if mask is None else int(mask.sum()))


@pytest.fixture
def app() -> AppTest:
    return AppTest.from_function(page, default_timeout=LONG).run()


def test_a_page_gets_the_drawing_of_its_own_image_only(app: AppTest) -> None:
    assert app.code[0].value == "none"
    app.session_state["brush"] = {"mask": report(rev=1)}
    assert app.run().code[0].value == "8"
    assert app.radio[0].set_value("b").run().code[0].value == "none"
    assert not app.exception


def test_a_page_can_show_what_is_wrong_with_a_drawing(app: AppTest) -> None:
    app.session_state["brush"] = {"mask": report() | {"runs": [5, 5]}}
    app.run()
    assert "54" in app.error[0].value and not app.exception


def test_the_picture_is_not_sent_again_while_the_user_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[bytes] = []
    state: dict[str, Any] = {}
    monkeypatch.setattr(st, "session_state", state)
    monkeypatch.setattr(
        "skrd4ad.ui.components.mask_brush._component", lambda *, key, data, on_mask_change: sent.append(data)
    )

    def run(mask: np.ndarray | None, name: str = "a") -> np.ndarray | None:
        return mask_brush(IMAGE, image_id=name, key="k", mask=mask)

    assert run(None) is None and run(None) is None
    assert sent[1] is sent[0]
    run(MASK)  # Python may still say where the drawing starts
    assert unpack(sent[2])[0]["load"] != unpack(sent[0])[0]["load"]
    state["k"] = {"mask": report(rev=1, mask=~MASK)}
    drawn = run(MASK)
    assert drawn is not None and (drawn == ~MASK).all()
    run(drawn)
    assert sent[3] is sent[2] and sent[4] is sent[2]
    state["k"] = {}  # the component left the page
    assert run(drawn) is None
    header, blobs = unpack(sent[5])
    assert header["base"] == 1
    assert np.frombuffer(blobs["runs"], "<u4").tolist() == encode_runs(~MASK)


def test_a_picture_that_a_page_keeps_is_sent_as_it_is() -> None:
    _, blobs = unpack(_payload({}, IMAGE, mask=None, anomaly_map=None, threshold=None, encoded=b"a JPEG"))
    assert blobs["image"] == b"a JPEG"
