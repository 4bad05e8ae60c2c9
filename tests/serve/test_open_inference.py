"""``/v2`` as its official client uses it, and what it refuses."""

import base64
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.http as triton
import uvicorn
from tritonclient.utils import InferenceServerException

from skrd4ad.cli import main
from skrd4ad.data.images.read import read_image
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.serve.app import application
from skrd4ad.serve.settings import ServeSettings
from skrd4ad.serve.tensors import HEAD
from tests.limits import LONG

NAME = "parts/machined_disc/run"
Client = Callable[..., Any]


@pytest.fixture
def server(info: ModelInfo, loaded_once: None, tmp_path: Path) -> Iterator[triton.InferenceServerClient]:
    """The official client of a service that listens."""
    app = application(ServeSettings(root=tmp_path / "models"))
    service = uvicorn.Server(uvicorn.Config(app, lifespan="on", log_level="warning"))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=service.run, args=([listener],))
        thread.start()
        until = time.monotonic() + LONG
        while not service.started:
            assert thread.is_alive() and time.monotonic() < until
            time.sleep(0.01)
        client = triton.InferenceServerClient(f"127.0.0.1:{listener.getsockname()[1]}", network_timeout=LONG)
        yield client
        client.close()
        service.should_exit = True
        thread.join(LONG)


@pytest.fixture
def expected(info: ModelInfo, tiny_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    """Images, what ``predict`` says of each alone, and their maps; torch's last digit depends on the batch."""
    images = [tiny_data / "machined_disc" / "test" / kind / "000.png" for kind in ("good", "scratch")]
    records = []
    for each in images:
        main(["predict", str(each), "--model", str(info.folder), "--out", str(tmp_path / each.parent.name), "--json"])
        records += json.loads(capsys.readouterr().out)["images"]
    return images, records, np.stack([np.load(each["files"]["map"]) for each in records])


def files(images: list[Path]) -> triton.InferInput:
    given = triton.InferInput("image", [len(images)], "BYTES")
    return given.set_data_from_numpy(np.array([each.read_bytes() for each in images], np.object_), binary_data=True)


def pixels(array: np.ndarray, *, binary: bool) -> triton.InferInput:
    return triton.InferInput("pixels", list(array.shape), "UINT8").set_data_from_numpy(array, binary_data=binary)


def test_the_official_client_gets_what_predict_says(server: triton.InferenceServerClient, expected: Any) -> None:
    images, records, maps = expected
    assert server.is_server_live() and server.is_server_ready() and server.is_model_ready(NAME)
    assert server.get_server_metadata()["extensions"] == ["binary_tensor_data"]
    about = server.get_model_metadata("machined_disc")
    assert [each["name"] for each in about["inputs"]] == ["image", "pixels"]
    arrays = np.stack([read_image(each) for each in images])
    asked = [
        (files(images), {}),
        (files(images), {"request_compression_algorithm": "gzip", "response_compression_algorithm": "gzip"}),
        (pixels(arrays, binary=True), {}),
        (pixels(arrays, binary=False), {}),
    ]
    for given, options in asked:
        for binary in (True, False):
            outputs = [
                triton.InferRequestedOutput(each["name"], binary_data=binary and each["name"] != "verdict")
                for each in about["outputs"]
            ]
            found = server.infer(NAME, [given], outputs=outputs, request_id="7", **options)
            assert found.get_response()["id"] == "7" and found.get_response()["parameters"] == {"calibration": 1}
            assert found.as_numpy("score").tolist() == [each["score"] for each in records]
            said = [json.loads(each) for each in found.as_numpy("record")]
            for one, other in zip(said, records, strict=True):
                assert one == {name: value for name, value in other.items() if name != "files"} | {"path": one["path"]}
            np.testing.assert_array_equal(found.as_numpy("map"), maps)
            verdicts = [value.decode() if isinstance(value, bytes) else value for value in found.as_numpy("verdict")]
            assert verdicts == [each["verdict"] for each in records]
    # all outputs are given where none is named; one picture need not be in a batch
    alone = server.infer("machined_disc", [pixels(arrays[1], binary=True)])
    np.testing.assert_array_equal(alone.as_numpy("map"), maps[1:])
    with pytest.raises(InferenceServerException, match="no model 'cable'"):
        server.infer("cable", [files(images)])
    with pytest.raises(InferenceServerException, match="outputs heat are unknown; there are: score, verdict"):
        server.infer(NAME, [files(images)], outputs=[triton.InferRequestedOutput("heat")])


def image(**values: Any) -> dict[str, Any]:
    return {"name": "image", "datatype": "BYTES", "shape": [1], **values}


def picture(**values: Any) -> dict[str, Any]:
    return {"name": "pixels", "datatype": "UINT8", "shape": [1, 1, 3], **values}


@pytest.mark.parametrize(
    ("words", "inputs", "raw"),
    [
        ("no inference request", None, b""),
        ("the inputs are nothing", [], b""),
        ("allowed: one of image", [picture(data=[1, 2, 3]), image(data=["eA=="])], b""),
        ("'x'; allowed: one of image", [image(name="x", data=["eA=="])], b""),
        ("'image' is UINT8; allowed: BYTES for image", [image(datatype="UINT8", shape=[1, 1, 3], data=[1, 2, 3])], b""),
        ("'image' is FP32; allowed", [image(datatype="FP32", data=[1])], b""),
        ("files in Base64", [image(data=["?"])], b""),
        ("files in Base64", [image(data=[1])], b""),
        ("is [2], and there are 1 values", [image(shape=[2], data=["eA=="])], b""),
        ("there are 65 images in the request; allowed: 1 to 64", [image(shape=[65], data=["eA=="] * 65)], b""),
        ("there are 0 images", [image(shape=[0], data=[])], b""),
        ("not an image", [image(data=["eA=="])], b""),
        ("whole numbers from 0 to 255", [picture(data=[1, 2, 256])], b""),
        ("whole numbers from 0 to 255", [picture(data=[1, 2, 0.5])], b""),
        ("whole numbers from 0 to 255", [picture(data=[[1, 2], [3]])], b""),
        ("whole numbers from 0 to 255", [picture(data=None)], b""),
        ("allowed: (h, w, 3) or", [picture(shape=[3], data=[1, 2, 3])], b""),
        ("allowed: (h, w, 3) or", [picture(shape=[1, 3, 1], data=[1, 2, 3])], b""),
        ("is [1, 1, 3], and there are 2 values", [picture(parameters={"binary_data_size": 2})], b"12"),
        ("3 bytes are left", [picture(parameters={"binary_data_size": 4})], b"123"),
        ("3 bytes are left", [picture(parameters={"binary_data_size": -1})], b"123"),
        ("1 bytes of the body belong to no input", [picture(parameters={"binary_data_size": 3})], b"1234"),
        ("ends within an element", [image(parameters={"binary_data_size": 3})], b"\1\0\0"),
        ("ends within an element", [image(parameters={"binary_data_size": 5})], b"\2\0\0\0x"),
    ],
)
def test_a_request_that_cannot_be_read_is_refused_by_a_sentence(
    words: str, inputs: Any, raw: bytes, client: Client
) -> None:
    head = b"{" if inputs is None else json.dumps({"inputs": inputs}).encode()
    answer = client().post(f"/v2/models/{NAME}/infer", content=head + raw, headers={HEAD: str(len(head))})
    assert answer.status_code in (400, 422) and words.lower() in answer.json()["error"].lower()


def test_plain_json_is_enough_and_a_wrong_length_of_the_head_is_refused(client: Client, defect: Path) -> None:
    service = client()
    body = {"inputs": [image(data=[base64.b64encode(defect.read_bytes()).decode()])], "outputs": [{"name": "verdict"}]}
    found = service.post(f"/v2/models/{NAME}/infer", json=body).json()
    [verdict] = found["outputs"]
    said = service.post("/v1/inspect", content=defect.read_bytes(), headers={"content-type": "image/png"}).json()
    assert verdict == {
        "name": "verdict", "datatype": "BYTES", "shape": [1], "data": [said["images"][0]["verdict"]]
    }  # fmt: skip
    for length in ("x", "-1", "100000000"):
        answer = service.post(f"/v2/models/{NAME}/infer", json=body, headers={HEAD: length})
        assert answer.status_code == 400 and HEAD in answer.json()["error"]


def test_readiness_needs_no_key_and_inference_does(client: Client, info: ModelInfo) -> None:
    service = client(needs_key=True)
    assert service.get("/v2").json()["name"] == "skrd4ad" and service.get("/v2/health/ready").json() == {"ready": True}
    assert service.post(f"/v2/models/{NAME}/infer", json={}).status_code == 401
    (info.folder / "config.json").write_text("{")
    damaged = client()
    assert [damaged.get(f"/v2/health/{each}").status_code for each in ("live", "ready")] == [200, 503]
