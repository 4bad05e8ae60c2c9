"""Names, comments and messages that hold Markdown and HTML stay texts on every page: no request, no markup."""

import json
import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from playwright.sync_api import Page, expect

from skrd4ad.data.sources import open_dataset
from skrd4ad.model_folder.calibration import Calibration
from skrd4ad.model_folder.folder import read_info, save_calibration
from skrd4ad.services.access import acting_as
from skrd4ad.services.evaluation.evaluate import evaluate_class
from skrd4ad.services.labelling import annotate
from skrd4ad.services.labelling.add_images import add_class, add_files
from skrd4ad.services.labelling.queue import filter_of, items_of, order_of_queue
from skrd4ad.services.labelling.review import send_to_review
from skrd4ad.services.models.library import note_model, rename_model
from skrd4ad.services.study.design import Photograph
from skrd4ad.services.study.measure import Measurement, StudyRecord
from skrd4ad.services.study.store import save_study
from skrd4ad.storage.database import workspace_database
from skrd4ad.storage.jobs import add_job, end_job
from skrd4ad.storage.labelled_images import PredictionRow
from skrd4ad.ui.acting import COOKIE
from skrd4ad.ui.frame import PAGES
from tests.e2e.conftest import NewTab

pytestmark = pytest.mark.browser

ROOT = Path(__file__).parents[2]
FILE = "![x](leak.png)<b>mkbold<b>**mkstrong**:red[mkred]$mkmath$"
"""What a file, a folder or a class may be called."""
TYPE = "![x](leak.png)_mkem_`mkcode`$mkmath$"
"""What a type of defect may be called on the Label page."""
MARKUP = """() => {
  const found = [];
  const visit = (root) => {
    for (const node of root.querySelectorAll("*")) {
      if (node.shadowRoot) visit(node.shadowRoot);
      const text = node.textContent.trim();
      if (/^mk(bold|strong|em|code|red|math|link)$/.test(text)) found.push(node.outerHTML.slice(0, 200));
      for (const name of ["src", "href"])
        if (/leak|mklink/.test(node.getAttribute(name) || "")) found.push(node.outerHTML.slice(0, 200));
    }
  };
  visit(document);
  return found;
}"""
SHOWN = """() => {
  const texts = [];
  const visit = (root) => {
    for (const node of root.querySelectorAll("*")) {
      if (node.shadowRoot) visit(node.shadowRoot);
      if (node.childElementCount === 0) texts.push(node.textContent);
    }
  };
  visit(document);
  return texts.filter((text) => text.includes("](") && text.includes("![x]")).length;
}"""


@dataclass
class Place:
    """The app that runs, and an outside address that nobody may ask."""

    url: str
    asked: list[str]


class Outside(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.server.asked.append(self.path)  # type: ignore[attr-defined]
        self.send_error(404)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def outside() -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Outside)
    server.asked = []  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def place(
    serve, outside: ThreadingHTTPServer, tiny_model: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Place]:
    root = tmp_path_factory.mktemp("names")
    env = {
        "SKRD4AD_HOME": str(root / "home"),
        "SKRD4AD_CHECKPOINTS": str(root / "models"),
        "SKRD4AD_DATA_ROOTS": str(root / "data"),
        "OMP_NUM_THREADS": "1",
    }
    address = f"http://127.0.0.1:{outside.server_port}"
    with pytest.MonkeyPatch.context() as patch:
        for name, value in env.items():
            patch.setenv(name, value)
        fill(root, tiny_model, address=address)
    with serve(ROOT / "app.py", env=env) as url:
        yield Place(url, outside.asked)  # type: ignore[attr-defined]


def fill(root: Path, tiny_model: tuple[Path, Path], *, address: str) -> None:
    """A workspace in which everything that has a name or a text has a bad one."""
    name = f"![x]({address}/leak.png)**mkstrong**$mkmath$"
    text = f"{name} <b>mkbold</b> :red[mkred] `mkcode` [mklink]({address}/mklink) {address}/leak"
    (root / "home").mkdir()
    images = root / "data" / FILE
    shutil.copytree(tiny_model[1] / "machined_disc", images)
    for folder in sorted((images / "test").iterdir()):
        for file in sorted(folder.iterdir()):
            file.rename(folder / f"{file.stem}{FILE}{file.suffix}")
    defects = next(each for each in sorted((images / "test").iterdir()) if each.name != "good")
    defects.rename(defects.with_name(FILE))
    masks = images / "ground_truth" / defects.name
    if masks.is_dir():
        for file in sorted(masks.iterdir()):
            number, _, rest = file.name.partition("_")
            file.rename(masks / f"{number}{FILE}_{rest}")
        masks.rename(masks.with_name(FILE))

    folder = Path(shutil.copytree(tiny_model[0], root / "models" / "parts" / "odd" / "tiny"))
    values = json.loads((folder / "config.json").read_text())
    values["class_name"], values["dataset"] = FILE, name
    values["data"] |= {"source": str(images.parent), "layout": "mvtec", "note": text, "licence": text}
    values["environment"] = {name: text}
    (folder / "config.json").write_text(json.dumps(values))
    broken = Path(shutil.copytree(folder, folder.with_name("broken")))
    (broken / "config.json").write_text(json.dumps(values | {text: 1}))

    info = read_info(folder)
    assert info.calibration is not None
    told: dict[str, Any] = {"who": name, "note": text, "data": text}
    info = save_calibration(folder, replace(Calibration(**{**vars(info.calibration), **told}), version=1))
    data = open_dataset(str(images.parent), layout="mvtec", class_name=FILE)[0]
    evaluate_class(folder, data, source=str(images.parent))
    info = read_info(folder)
    with acting_as(name):
        rename_model(folder, name[:80])
        note_model(folder, text)
    add_class(info, data, splits=("test",))
    add_files(info, [(f"{name}.png", (next((images / "train" / "good").iterdir())).read_bytes())])
    wanted = filter_of(info, None)
    for index, item in enumerate(items_of(wanted, order_of_queue(wanted))[:4]):
        kind = TYPE if index % 2 else None
        label: Any = "defect" if index % 2 else "good"
        annotate.decide(item, label, reviewer=name[:80], defect_type=kind, comment=text)
    path = next((images / "test" / FILE).iterdir())
    send_to_review(info, [(name, path, PredictionRow(9.0, "NG", 1.0, None, text))])
    again = [
        Measurement(
            photograph=Photograph(file=path, part=f"{name}{part}", setting=text, round=f"{name}{round}", truth="good"),
            score=float(part + round / 7),
            verdict="OK",
        )
        for part in range(3)
        for round in range(2)
    ]
    save_study(
        StudyRecord(
            source=images,
            model=folder,
            model_title=name,
            model_digest=info.digest,
            made_at="2026-01-02T03:04:05+00:00",
            calibration=1,
            reject=2.0,
            measurements=tuple(again),
            left_out=(text,),
        )
    )
    with workspace_database().write() as session:
        for number, (kind, request) in enumerate((("train", {"train": {"epochs": 1}}), ("evaluate", {}), ("odd", {}))):
            add_job(session, job_id=f"job-{number}", kind=kind, title=text, request=request, owner="nobody")
            session.flush()
            end_job(session, f"job-{number}", "failed", error=text, details=text)


@pytest.fixture
def tab(new_tab: NewTab, place: Place) -> Iterator[Page]:
    page = new_tab(height=1000)
    page.context.add_cookies([{"name": COOKIE, "value": quote(FILE), "url": place.url}])
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    yield page
    assert [url for url in asked if not url.startswith((place.url, "data:", "blob:"))] == []
    assert [url for url in asked if "leak" in url] == []
    assert place.asked == []


def looked_over(page: Page, settled, *, least: int) -> None:
    settled(page)
    page.wait_for_timeout(700)  # texts are drawn after the script has run
    assert page.locator('[data-testid="stException"]').count() == 0
    assert page.evaluate(MARKUP) == []
    assert page.evaluate(SHOWN) >= least, "the texts are not on the page"


@pytest.mark.parametrize("name", PAGES)
def test_no_page_takes_a_name_for_markup(name: str, place: Place, tab: Page, settled) -> None:
    tab.goto(f"{place.url}/{name}")
    expect(tab.get_by_role("heading", name=PAGES[name], level=1)).to_be_visible()
    least = 0 if name == "calibrate" else 1  # all its names are in a table, which is drawn on a canvas
    looked_over(tab, settled, least=least)
    tab.evaluate("document.querySelectorAll('details:not([open]) > summary').forEach((each) => each.click())")
    looked_over(tab, settled, least=least)
