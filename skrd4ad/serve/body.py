"""The body of a request: read up to a bound, decompressed, and the image taken out of it."""

import zlib
from pathlib import PurePosixPath
from typing import Any

from starlette.datastructures import UploadFile
from starlette.requests import ClientDisconnect, Request

from skrd4ad.serve.problems import Refusal

LONGEST_NAME = 255
_IMAGES = ("application/octet-stream", "application/dicom")
_WINDOW = {"gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}


async def read_body(request: Request, *, most: int) -> bytes:
    """The body, decompressed.

    Raises:
        Refusal: it has more than ``most`` bytes, compressed or not, or is compressed in another way than gzip or
            deflate.
    """
    encoding = request.headers.get("content-encoding", "identity").lower()
    if encoding not in ("identity", *_WINDOW):
        raise Refusal(415, f"The body is encoded by {encoding!r}; allowed: gzip, deflate, or nothing.")
    chunks, size = [], 0
    try:
        async for chunk in request.stream():
            size += len(chunk)
            if size <= most:  # the rest is read and dropped, so that the sender comes to read the answer
                chunks.append(chunk)
            elif size > 2 * most:
                break
    except ClientDisconnect:
        raise Refusal(400, "The connection ended before the body did. Send it again.") from None
    body = b"".join(chunks)
    if size <= most and encoding != "identity":
        inflate = zlib.decompressobj(_WINDOW[encoding])
        try:
            body = inflate.decompress(body, most + 1)
        except zlib.error as error:
            raise Refusal(400, f"The body says that it is {encoding}, and cannot be decompressed ({error}).") from error
        if not inflate.eof and len(body) <= most:
            raise Refusal(400, f"The body says that it is {encoding}, and ends too soon. Send it again.")
        size = len(body)
    if size > most:
        raise Refusal(413, f"The body has more than {most} bytes, which is what is allowed. Send a smaller image.")
    return body


async def image_of(request: Request, *, most: int) -> tuple[str, bytes]:
    """Name and bytes of the image of a request: its body, or the part ``image`` of a form. The name is ``?name=``, that
    of the file in the form, or ``image``.

    Raises:
        Refusal: the body is too large, of another type, or without an image.
    """
    body = await read_body(request, most=most)
    kind = request.headers.get("content-type", _IMAGES[0]).partition(";")[0].strip().lower()
    name = request.query_params.get("name", "")
    if kind == "multipart/form-data":
        given, body = await _part(request, body)
        name = name or PurePosixPath(given.replace("\\", "/")).name
    elif kind not in _IMAGES and not kind.startswith("image/"):
        raise Refusal(
            415,
            f"The content type is {kind!r}; allowed: image/…, {', '.join(_IMAGES)}, or multipart/form-data with a part "
            "'image'. By curl: -F image=@part.png",
        )
    if not body:
        raise Refusal(400, "There is no image: the body is empty. Send the file as the body, or as the part 'image'.")
    if len(name) > LONGEST_NAME or not name.isprintable():
        raise Refusal(
            400, f"The name of the image is {name[:60]!r}; allowed: up to {LONGEST_NAME} printable characters."
        )
    return name or "image", body


async def _part(request: Request, body: bytes) -> tuple[str, bytes]:
    """File name and bytes of the image in a form."""

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async with Request(request.scope, receive).form(max_files=1, max_fields=8) as form:
        uploaded = form.get("image")
        if not isinstance(uploaded, UploadFile):
            raise Refusal(400, "The form has no file 'image'; send one, by curl: -F image=@part.png")
        return uploaded.filename or "", await uploaded.read()
