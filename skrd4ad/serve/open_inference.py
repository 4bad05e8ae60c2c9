"""``/v2``: the Open Inference Protocol (KServe v2), by which inference servers are called in one way.

A model takes ``image``, BYTES (N,): files as they are; or ``pixels``, UINT8 (H, W, 3) or (N, H, W, 3): RGB of any size.
It gives ``score`` FP32 (N,), ``verdict`` BYTES (N,), ``record`` BYTES (N,): the entry of ``predict --json``, and
``map`` FP32 (N, h, w), raw scores.
"""

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

import skrd4ad
from skrd4ad.inference.predictions import Inspection
from skrd4ad.serve.body import read_body
from skrd4ad.serve.inspections import inspections_of
from skrd4ad.serve.problems import Refusal, too_busy
from skrd4ad.serve.tensors import HEAD, Tensor, read_request, write_answer
from skrd4ad.services.inspection.inspect import to_record

MOST_IMAGES = 64
"""In one request."""
_INPUTS = [
    {"name": "image", "datatype": "BYTES", "shape": [-1]},
    {"name": "pixels", "datatype": "UINT8", "shape": [-1, -1, -1, 3]},
]
_OUTPUTS = [
    {"name": "score", "datatype": "FP32", "shape": [-1]},
    {"name": "verdict", "datatype": "BYTES", "shape": [-1]},
    {"name": "record", "datatype": "BYTES", "shape": [-1]},
    {"name": "map", "datatype": "FP32", "shape": [-1, -1, -1]},
]


async def server(_request: Request) -> Response:
    """What answers here."""
    return JSONResponse({"name": "skrd4ad", "version": skrd4ad.__version__, "extensions": ["binary_tensor_data"]})


async def live(_request: Request) -> Response:
    """Whether the process answers."""
    return JSONResponse({"live": True})


async def ready(request: Request) -> Response:
    """Whether the model that is asked for without a name is open, where there is one."""
    models = inspections_of(request).models
    try:
        is_open = models.is_open(await asyncio.to_thread(models.find, None))
    except Refusal as refusal:
        is_open = refusal.status == 400  # there are several classes: each model is opened when it is asked for
    if not is_open:
        raise too_busy(503, "The model is not open yet, or cannot be; the service's log says why.")
    return JSONResponse({"ready": True})


async def model(request: Request) -> Response:
    """Inputs and outputs of a model."""
    name = request.path_params["name"]
    info = await asyncio.to_thread(inspections_of(request).models.find, name)
    return JSONResponse(
        {
            "name": name,
            "versions": [info.digest[:12]],
            "platform": "skrd4ad",
            "inputs": _INPUTS,
            "outputs": _OUTPUTS,
        }
    )


async def model_ready(request: Request) -> Response:
    """Whether a model can be used; it is opened."""
    name = request.path_params["name"]
    await asyncio.to_thread(inspections_of(request).models.current, name)
    return JSONResponse({"name": name, "ready": True})


async def infer(request: Request) -> Response:
    """Scores, verdicts and maps of images."""
    inspections, name = inspections_of(request), request.path_params["name"]
    with inspections.place():
        body = await read_body(request, most=inspections.settings.max_bytes)
        asked, tensors = read_request(body, request.headers.get(HEAD))
        sources = _sources(tensors)
        opened = await asyncio.to_thread(inspections.models.current, name)

        async def judge(number: int, source: bytes | Inspection) -> tuple[str, dict[str, Any], Any]:
            found = await inspections.look(source, opened, name=_name(number), limits=opened.limits)
            assert found.prediction is not None  # the image itself need not be kept
            return found.outcome, to_record(found), found.prediction.anomaly_map

        judged = await asyncio.gather(*(judge(number, source) for number, source in enumerate(sources)))
    outcomes, records, maps = zip(*judged, strict=True)
    if len({each.shape for each in maps}) > 1:
        wants_map = asked.outputs is None or any(each.name == "map" for each in asked.outputs)
        if wants_map:
            raise Refusal(422, "Some of the images are seen in tiles, and their maps differ in size. Send them singly.")
        maps = maps[:0]
    outputs = [
        Tensor("score", np.array([each["score"] for each in records], np.float32)),
        Tensor("verdict", [each.encode() for each in outcomes]),
        Tensor("record", [json.dumps(each).encode() for each in records]),
        Tensor("map", np.array(maps, np.float32)),
    ]
    calibration = None if opened.limits is None else opened.limits.calibration
    head = {
        "model_name": name,
        "model_version": opened.info.digest[:12],
        "parameters": {} if calibration is None else {"calibration": calibration},
        **({"id": asked.id} if asked.id else {}),
    }
    content, headers = write_answer(head, outputs, asked)
    return Response(content, headers=headers)


def _sources(tensors: Sequence[Tensor]) -> list[bytes | Inspection]:
    if len(tensors) != 1 or tensors[0].name not in ("image", "pixels"):
        names = ", ".join(repr(each.name) for each in tensors) or "nothing"
        raise Refusal(400, f"The inputs are {names}; allowed: one of image (BYTES: files) and pixels (UINT8: RGB).")
    [given] = tensors
    if isinstance(given.values, list) != (given.name == "image"):
        raise Refusal(400, f"{given.name!r} is {given.datatype}; allowed: BYTES for image, UINT8 for pixels.")
    values = given.values if isinstance(given.values, list) or given.values.ndim != 3 else given.values[None]
    if not 1 <= len(values) <= MOST_IMAGES:
        raise Refusal(400, f"There are {len(values)} images in the request; allowed: 1 to {MOST_IMAGES}.")
    if isinstance(values, list):
        return list(values)
    if values.ndim != 4 or values.shape[3] != 3 or 0 in values.shape:
        raise Refusal(400, f"The shape of 'pixels' is {given.shape}; allowed: (H, W, 3) or (N, H, W, 3), of RGB.")
    return [Inspection(name=_name(number), image=image) for number, image in enumerate(values)]


def _name(number: int) -> str:
    return f"image-{number + 1}"
