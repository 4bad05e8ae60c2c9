"""``/v1``: the service says what ``skrd4ad predict`` says, and refuses the rest with a sentence."""

import base64
import gzip
import io
import json
import shutil
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from PIL import Image

from skrd4ad.cli import main
from skrd4ad.model_folder.folder import save_calibration, use_version
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.model_folder.metadata import change_metadata
from skrd4ad.serve import batching
from skrd4ad.services.labelling.review import waiting_images
from skrd4ad.services.models.library import archive_model
from tests.limits import LONG

Client = Callable[..., Any]
PNG = {"content-type": "image/png"}


@pytest.mark.parametrize("options", [[], ["--threshold", "0.5", "--tiled", "off", "--mm-per-pixel", "0.2"]], ids=str)
def test_a_verdict_is_the_document_of_predict_to_the_last_digit(
    options: list[str],
    client: Client,
    info: ModelInfo,
    tiny_data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    service = client()
    query = {name.removeprefix("--").replace("-", "_"): value for name, value in zip(*[iter(options)] * 2, strict=True)}
    for kind in ("scratch", "good"):
        image = tiny_data / "machined_disc" / "test" / kind / "000.png"
        main(["predict", str(image), "--model", str(info.folder), "--out", str(tmp_path / "out"), "--json", *options])
        expected = json.loads(capsys.readouterr().out)
        files = expected["images"][0].pop("files")
        asked = {**query, "name": str(image), "overlay": "png"}
        raw = service.post("/v1/inspect", params=asked, content=image.read_bytes(), headers=PNG).json()
        overlay = raw["images"][0].pop("files")["overlay"]
        assert raw == expected
        assert base64.b64decode(overlay.removeprefix("data:image/png;base64,")) == Path(files["overlay"]).read_bytes()
        form = service.post("/v1/inspect", params=query, files={"image": (image.name, image.read_bytes())}).json()
        expected["images"][0] |= {"path": "000.png", "files": {}}
        assert form == expected


def test_the_documents_are_those_of_the_openapi_page(client: Client, defect: Path) -> None:
    service = client()
    described = service.get("/openapi.json").json()
    image = {"image": defect.read_bytes()}

    def valid(path: str, method: str, answer: Any, status: str = "200") -> bool:
        content = described["paths"][path][method]["responses"][status]["content"]["application/json"]
        Draft202012Validator({**content["schema"], "components": described["components"]}).validate(answer.json())
        return bool(answer.status_code == int(status))

    assert valid("/v1/inspect", "post", service.post("/v1/inspect", files=image))
    assert valid("/v1/models", "get", service.get("/v1/models"))
    assert valid(
        "/v1/models/{name}/calibrations", "get", service.get("/v1/models/parts/machined_disc/run/calibrations")
    )
    assert valid("/v1/inspect", "post", service.post("/v1/inspect?model=x", files=image), "404")
    page = service.get("/docs")
    assert all(path in page.text for path in described["paths"])


def bomb() -> bytes:
    return gzip.compress(bytes(200_000), mtime=0)


def large() -> bytes:
    stream = io.BytesIO()
    Image.new("L", (101, 100)).save(stream, "png")
    return stream.getvalue()


@pytest.mark.parametrize(
    ("status", "words", "query", "headers", "body"),
    [
        (400, "no image", {}, PNG, b""),
        (400, "threshold is 'high'; allowed: a number", {"threshold": "high"}, PNG, None),
        (400, "allowed: any finite number", {"threshold": "nan"}, PNG, None),
        (400, "overlay is 'jpg'; allowed: png", {"overlay": "jpg"}, PNG, None),
        (400, "tiled is 'x'; allowed: auto, on, off", {"tiled": "x"}, PNG, None),
        (400, "allowed: a number above 0", {"mm_per_pixel": "0"}, PNG, None),
        (400, "printable", {"name": "a\nb"}, PNG, None),
        (400, "cannot be decompressed", {}, {**PNG, "content-encoding": "gzip"}, b"no"),
        (400, "ends too soon", {}, {**PNG, "content-encoding": "gzip"}, bomb()[:50]),
        (400, "no file 'image'", {}, {"content-type": "multipart/form-data; boundary=x"}, b"--x--\r\n"),
        (404, "no model 'cable'; there are: parts/machined_disc/run", {"model": "cable"}, PNG, None),
        (413, "more than 100000 bytes", {}, PNG, bytes(100_001)),
        (413, "more than 100000 bytes", {}, {**PNG, "content-encoding": "gzip"}, bomb()),
        (415, "'text/plain'; allowed: image/", {}, {"content-type": "text/plain"}, b"x"),
        (415, "encoded by 'br'; allowed: gzip", {}, {**PNG, "content-encoding": "br"}, None),
        (422, "not an image", {}, PNG, b"no"),
        (422, "damaged or incomplete", {}, PNG, "half"),
        (422, "10100 pixels; allowed: up to 10000", {}, PNG, large()),
    ],
)  # fmt: skip
def test_what_cannot_be_answered_is_refused_by_a_sentence(
    status: int, words: str, query: dict[str, str], headers: dict[str, str], body: Any, client: Client, defect: Path
) -> None:
    content = defect.read_bytes()
    sent = content if body is None else content[: len(content) // 2] if body == "half" else body
    service = client(max_bytes=100_000, max_pixels=10_000)
    answer = service.post("/v1/inspect", params=query, headers=headers, content=sent)
    assert (answer.status_code, list(answer.json())) == (status, ["schema", "error"])
    assert words in answer.json()["error"]
    assert service.post("/v1/inspect", content=content, headers=PNG).status_code == 200


def test_a_multipart_body_that_is_none_and_paths_that_are_none_are_refused(client: Client) -> None:
    service = client()
    broken = service.post("/v1/inspect", content=b"x", headers={"content-type": "multipart/form-data"})
    assert broken.status_code == 400 and "error" in broken.json()
    assert service.get("/v1/nothing").status_code == 404 and service.get("/v1/inspect").status_code == 405


def test_a_connection_that_ends_within_the_body_is_no_error_of_the_program(client: Client) -> None:
    service, sent = client(), []

    async def receive() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/v1/inspect", "query_string": b"", "scheme": "http"}
    service.run(service.app({**scope, "headers": [(b"host", b"127.0.0.1")]}, receive, send))
    assert sent[0]["status"] == 400 and b"ended before the body did" in sent[1]["body"]


def test_a_compressed_body_is_that_of_the_image(client: Client, defect: Path) -> None:
    service = client()
    plain = service.post("/v1/inspect", content=defect.read_bytes(), headers=PNG).json()
    packed = gzip.compress(defect.read_bytes(), mtime=0)
    assert service.post("/v1/inspect", content=packed, headers={**PNG, "content-encoding": "gzip"}).json() == plain


def test_more_than_it_can_do_is_refused_at_once_and_what_takes_too_long_in_time(
    client: Client, defect: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on = threading.Event(), threading.Event()
    real = batching.inspect_batch

    def waiting(*arguments: Any, **options: Any) -> Any:
        begun.set()
        assert go_on.wait(LONG)
        return real(*arguments, **options)

    monkeypatch.setattr(batching, "inspect_batch", waiting)
    service, hasty = client(most_requests=1), client(timeout_seconds=0.05)

    def post(service: Any) -> Any:
        return service.post("/v1/inspect", content=defect.read_bytes(), headers=PNG)

    with ThreadPoolExecutor() as pool:
        first = pool.submit(post, service)
        assert begun.wait(LONG)
        busy, late = post(service), post(hasty)
        go_on.set()
        assert first.result(LONG).status_code == 200
    assert (busy.status_code, busy.headers["retry-after"]) == (429, "1") and "1 inspections" in busy.json()["error"]
    assert late.status_code == 503 and "within 0.05 seconds" in late.json()["error"]
    assert post(service).status_code == 200


def test_a_calibration_or_another_model_counts_from_the_next_request_on(
    client: Client, info: ModelInfo, defect: Path
) -> None:
    service = client()

    def said(name: str = "machined_disc") -> tuple[Any, ...]:
        found = service.post(f"/v1/inspect?model={name}", content=defect.read_bytes(), headers=PNG).json()
        return Path(found["model"]).name, found["calibration"], found["images"][0]["threshold"]

    assert info.calibration is not None
    limit = info.calibration.image_threshold
    assert said() == ("run", 1, limit)
    save_calibration(info.folder, replace(info.calibration, image_threshold=limit + 1))
    assert said() == ("run", 2, limit + 1)
    use_version(info.folder, 1)
    assert said() == ("run", 1, limit)
    # a newer model of the class is there: the class's name stands for it, the model's own for itself
    newer = Path(shutil.copytree(info.folder, info.folder.with_name("newer")))
    values = json.loads((newer / "config.json").read_text())
    (newer / "config.json").write_text(json.dumps({**values, "created_at": "2030-01-01T00:00:00+00:00"}))
    service.app.state.inspections.models._listed = None  # within a second
    assert said() == ("newer", 1, limit) and said("parts/machined_disc/run")[0] == "run"
    assert len(service.get("/v1/models").json()["models"]) == 2
    archive_model(newer)
    service.app.state.inspections.models._listed = None
    assert said()[0] == "run"
    # other weights take the place of the old ones under the same name
    weights = (newer / "model.safetensors").read_bytes()
    before = service.app.state.inspections.models.current("machined_disc").predictor
    (info.folder / "model.safetensors").write_bytes(weights)
    assert service.app.state.inspections.models.current("machined_disc").predictor is not before
    change_metadata(newer, archived=False)


def test_a_damaged_model_is_refused_and_the_others_answer(client: Client, info: ModelInfo, defect: Path) -> None:
    shutil.copytree(info.folder, info.folder.parents[1] / "other" / "run")
    service = client(model=info.folder)
    assert [each["name"] for each in service.get("/v1/models").json()["models"]] == ["parts/machined_disc/run"]
    (info.folder / "calibration.json").write_text("{")
    answer = service.post("/v1/inspect", content=defect.read_bytes(), headers=PNG)
    assert answer.status_code == 503 and "calibration.json" in answer.json()["error"]


def test_an_image_for_review_waits_in_the_queue_once(client: Client, info: ModelInfo, defect: Path) -> None:
    service = client()
    without = service.post("/v1/review", content=defect.read_bytes(), headers=PNG)
    assert without.status_code == 400 and "?name=part.png" in without.json()["error"]
    answers = [
        service.post("/v1/review?name=part.png", content=defect.read_bytes(), headers=PNG).json() for _ in range(2)
    ]
    assert [each.pop("added") for each in answers] == [True, False]
    [(image, said)] = waiting_images()
    assert (image.name, said.score, said.model_digest) == ("part.png", answers[0]["images"][0]["score"], info.digest)


def test_metrics_count_answers_and_verdicts_and_name_the_calibration(client: Client, defect: Path) -> None:
    service = client()
    service.post("/v1/inspect", content=defect.read_bytes(), headers=PNG)
    service.post("/v1/inspect", content=b"no", headers=PNG)
    service.get("/other/path")
    lines = service.get("/metrics").text.splitlines()
    assert 'skrd4ad_answers_total{path="/v1/inspect",status="422"} 1.0' in lines
    assert 'skrd4ad_answers_total{path="other",status="404"} 1.0' in lines
    assert 'skrd4ad_request_seconds_count{path="/v1/inspect"} 2.0' in lines
    assert sum(line.startswith('skrd4ad_verdicts_total{model="parts/machined_disc/run"') for line in lines) == 1
    assert any(line.startswith("skrd4ad_calibration_version") and line.endswith("} 1.0") for line in lines)
