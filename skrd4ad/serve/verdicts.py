"""``/v1``: verdicts as the documents that the commands write with ``--json``."""

import asyncio
import base64
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse

from skrd4ad.data.images.read import IMAGE_SUFFIXES
from skrd4ad.documents import to_plain
from skrd4ad.format import SCHEMA
from skrd4ad.inference.predictions import Inspection
from skrd4ad.model_folder.info import read_history
from skrd4ad.serve.body import image_of
from skrd4ad.serve.inspections import choice_in, inspections_of, limits_for, scale_in, tiling_in
from skrd4ad.serve.models import OpenModel
from skrd4ad.serve.problems import Refusal
from skrd4ad.services.inspection.inspect import overlay_of, png_bytes, to_record
from skrd4ad.services.labelling.review import send_to_review
from skrd4ad.services.models.list import listed
from skrd4ad.storage.labelled_images import PredictionRow
from skrd4ad.types import OUTCOMES


async def inspect(request: Request) -> JSONResponse:
    """The verdict on one image."""
    return JSONResponse((await _inspected(request))[0])


async def review(request: Request) -> JSONResponse:
    """The verdict on one image, which then waits for a person to decide on it."""
    document, model, inspection, content = await _inspected(request, for_review=True)
    limits = inspection.limits
    assert inspection.score is not None
    row = PredictionRow(
        score=inspection.score,
        verdict=inspection.verdict,
        threshold=None if limits is None else limits.reject,
        calibration=None if limits is None else limits.calibration,
        refusal=inspection.refusal,
    )
    added = await asyncio.to_thread(send_to_review, model.info, [(inspection.name, content, row)])
    return JSONResponse({**document, "added": bool(added)})


async def models(request: Request) -> JSONResponse:
    """The models that are served."""
    found = await asyncio.to_thread(inspections_of(request).models.all)
    return JSONResponse({"schema": SCHEMA, "models": [listed(info) for info in found]})


async def calibrations(request: Request) -> JSONResponse:
    """All calibrations of a model, and which one is in use."""
    info = await asyncio.to_thread(inspections_of(request).models.find, request.path_params["name"])
    history = await asyncio.to_thread(read_history, info.folder)
    return JSONResponse(
        {
            "schema": SCHEMA,
            "model": str(info.folder),
            "current": None if history is None else history.current_version,
            "versions": to_plain(() if history is None else history.versions),
        }
    )


async def _inspected(
    request: Request, *, for_review: bool = False
) -> tuple[dict[str, Any], OpenModel, Inspection, bytes]:
    """The document on the image of a request, and what it was made of."""
    inspections, query = inspections_of(request), request.query_params
    with inspections.place():
        name, content = await image_of(request, most=inspections.settings.max_bytes)
        if for_review and not name.lower().endswith(IMAGE_SUFFIXES):
            raise Refusal(
                400,
                f"The name of the image is {name!r}, and people find it in the queue by it; allowed: names that end "
                f"with {', '.join(IMAGE_SUFFIXES)}. Add ?name=part.png",
            )
        wants_overlay = choice_in(query, "overlay", ("png",), default=None) is not None
        tiling, scale = tiling_in(query), scale_in(query)
        model = await asyncio.to_thread(inspections.models.current, query.get("model"))
        limits = limits_for(model, query)
        inspection = await inspections.look(content, model, name=name, limits=limits, tiling=tiling)
        files = {"overlay": await asyncio.to_thread(_overlay, inspection)} if wants_overlay else {}
    document = {
        "schema": SCHEMA,
        "model": str(model.info.folder),
        "runtime": model.predictor.runtime,
        "calibration": None if limits is None else limits.calibration,
        "counts": {outcome: int(outcome == inspection.outcome) for outcome in OUTCOMES},
        "images": [to_record(inspection, mm_per_pixel=scale) | {"files": files}],
    }
    return document, model, inspection, content


def _overlay(inspection: Inspection) -> str:
    """The overlay as a data URI, which a page shows as it is."""
    return f"data:image/png;base64,{base64.b64encode(png_bytes(overlay_of(inspection))).decode()}"
