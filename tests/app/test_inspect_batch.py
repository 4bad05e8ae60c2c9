"""The parts of the Inspect page that concern many images: ZIP files, scale, trend, report and masks."""

import io
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import streamlit as st
from PIL import Image
from pypdf import PdfReader
from streamlit.testing.v1 import AppTest

from skrd4ad.ui.inspect.batch import _FILES
from tests.shown_page import component


def good_images(root: Path) -> list[Path]:
    return sorted((root / "machined_disc" / "test" / "good").iterdir())


def upload(at: AppTest, files: list[tuple[str, bytes, str]]) -> AppTest:
    at = at.segmented_control(key="inspect-source").set_value("upload").run()
    return at.file_uploader[0].set_value(files).run()


def zip_of(entries: dict[str, bytes]) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return content.getvalue()


def labels(at: AppTest) -> list[str]:
    return [each.label for each in at.download_button]


def test_images_in_a_zip_are_inspected_and_paths_that_lead_outside_are_not_read(
    visit, own_model: Path, tiny_data: Path
) -> None:
    first, second, *_ = good_images(tiny_data)
    content = zip_of(
        {"a.png": first.read_bytes(), "shift 2/a.png": second.read_bytes(), "../evil.png": b"x", "readme.txt": b"x"}
    )
    at = upload(visit("inspect"), [("parts.zip", content, "application/zip")])
    assert not at.exception and not at.error
    assert "CSV of 3 images" in labels(at)


def test_a_damaged_zip_is_a_message(visit, own_model: Path) -> None:
    at = upload(visit("inspect"), [("parts.zip", b"PK broken", "application/zip")])
    assert not at.exception
    assert "parts.zip" in at.error[0].value


def test_the_report_and_the_masks_of_all_images_are_made(visit, own_model: Path, tiny_data: Path) -> None:
    at = upload(visit("inspect"), [(path.name, path.read_bytes(), "image/png") for path in good_images(tiny_data)[:2]])
    at.text_input(key="report-batch").set_value("Order 7").run()
    at.button(key="make-files").click().run()
    assert not at.exception and not at.error
    assert {"Report, PDF", "Report, web page", "Masks, overlays and maps of 2 images, ZIP"} <= set(labels(at))

    _, pdf, html, archive = at.session_state[_FILES]
    text = "".join(page.extract_text() for page in PdfReader(io.BytesIO(pdf)).pages)
    assert "Order 7" in text and "machined_disc" in text
    assert "Order 7" in html
    with zipfile.ZipFile(io.BytesIO(archive)) as files:
        names = set(files.namelist())
        stems = {path.stem for path in good_images(tiny_data)[:2]}
        assert names == {f"{stem}_{kind}" for stem in stems for kind in ("overlay.png", "mask.png", "map.npy")}
        stem = min(stems)
        mask = np.asarray(Image.open(io.BytesIO(files.read(f"{stem}_mask.png"))))
        assert mask.shape == (64, 64) and set(np.unique(mask)) <= {0, 255}


def test_without_weasyprint_there_is_the_web_page(
    visit, own_model: Path, tiny_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "weasyprint", None)
    at = upload(visit("inspect"), [("a.png", good_images(tiny_data)[0].read_bytes(), "image/png")])
    at.button(key="make-files").click().run()
    assert not at.exception and "A PDF needs WeasyPrint" in at.info[-1].value
    assert "Report, web page" in labels(at) and "Report, PDF" not in labels(at)


def test_a_scale_gives_regions_in_millimetres(visit, own_model: Path) -> None:
    at = visit("inspect")
    assert component(at, "map_viewer")["pitch"] is None
    at.number_input(key="inspect-scale").set_value(0.5).run()
    assert not at.exception
    assert component(at, "map_viewer")["pitch"] == [0.5, 0.5]


def test_the_trend_is_shown_for_uploads_and_not_for_samples(visit, own_model: Path, tiny_data: Path) -> None:
    at = visit("inspect")
    assert not any(each.label.startswith("Trend") for each in at.expander)
    at = upload(at, [(path.name, path.read_bytes(), "image/png") for path in good_images(tiny_data)])
    assert not at.exception and not at.error
    assert any(each.label.startswith("Trend") for each in at.expander)


def test_an_image_unlike_the_training_images_gets_no_verdict(
    visit, own_model: Path, tiny_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    white = io.BytesIO()
    Image.fromarray(np.full((64, 64, 3), 255, np.uint8)).save(white, "PNG")
    st.cache_resource.clear()
    at = upload(visit("inspect"), [("white.png", white.getvalue(), "image/png")])
    assert not at.exception and not at.error
    viewer = component(at, "map_viewer")
    assert viewer["refused"]
    assert any("exposed" in text and warns for text, warns in viewer["notes"])


def test_the_good_images_most_like_a_part_are_shown(visit, own_model: Path) -> None:
    at = visit("inspect")
    at.button(key="nearest").click().run()
    assert not at.exception and not at.error
    assert any(each.value.startswith("Training images, by the distance") for each in at.caption)


def test_views_with_the_skips_cut_can_be_asked_for(visit, own_model: Path) -> None:
    at = visit("inspect")
    at.toggle(key="inspect-skips").set_value(True).run()
    assert not at.exception and not at.error


def test_images_that_are_not_ok_are_sent_to_review_and_wait_on_the_overview(visit, own_model: Path) -> None:
    at = visit("inspect")
    button = at.button(key="send-to-review")
    count = int(button.label.split()[1])
    assert count > 0
    button.click().run()
    assert not at.exception and not at.error
    assert at.success[0].value == f"{count} added to the review queue."
    at.switch_page("routes/overview.py").run()
    assert "Waiting for review" in [each.value for each in at.subheader]
    assert any(len(table.value) == count and "Verdict" in table.value.columns for table in at.dataframe)


def test_another_colour_map_can_be_chosen(visit, own_model: Path) -> None:
    at = visit("inspect")
    at.sidebar.selectbox(key="inspect-colours").set_value("viridis").run()
    assert not at.exception and not at.error
