"""Tensors of the Open Inference Protocol: JSON, and the binary extension, where a head of JSON is followed by the raw
little-endian values of each tensor in its order, and a text or file has its length, four bytes, before it."""

import base64
import binascii
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from skrd4ad.documents import Count
from skrd4ad.serve.problems import Refusal

HEAD = "Inference-Header-Content-Length"
"""Length of the head of JSON in bytes; without it the whole body is JSON."""
_SIZE = "binary_data_size"


class Output(msgspec.Struct):
    """An output that is wanted."""

    name: str
    parameters: dict[str, Any] = {}


class _Input(msgspec.Struct):
    name: str
    datatype: str
    shape: list[Count]
    parameters: dict[str, Any] = {}
    data: Any = None


class InferenceRequest(msgspec.Struct):
    """What was asked for; unknown values are passed over."""

    inputs: list[_Input]
    id: str = ""
    outputs: list[Output] | None = None
    parameters: dict[str, Any] = {}


@dataclass(frozen=True, eq=False)
class Tensor:
    """A tensor with its name: UINT8 and FP32 as arrays, BYTES as a list for a shape (N,)."""

    name: str
    values: "NDArray[np.uint8] | NDArray[np.float32] | list[bytes]"

    @property
    def shape(self) -> list[int]:
        """Its sizes."""
        return [len(self.values)] if isinstance(self.values, list) else list(self.values.shape)

    @property
    def datatype(self) -> str:
        """As the protocol calls it."""
        return "BYTES" if isinstance(self.values, list) else "UINT8" if self.values.dtype == np.uint8 else "FP32"


def read_request(body: bytes, head_length: str | None) -> tuple[InferenceRequest, list[Tensor]]:
    """The request, and its input tensors in their order. ``head_length``: the header :data:`HEAD`.

    Raises:
        Refusal: it is no inference request, or a tensor is not as long as its shape says.
    """
    if head_length is not None and not (head_length.isdecimal() and int(head_length) <= len(body)):
        raise Refusal(400, f"{HEAD} is {head_length!r}; the body has {len(body)} bytes, and it must lie within.")
    at = len(body) if head_length is None else int(head_length)
    try:
        request = msgspec.json.decode(body[:at], type=InferenceRequest)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Refusal(400, f"The body is no inference request: {error}. See docs/serve.md for one.") from error
    tensors = []
    for given in request.inputs:
        size = given.parameters.get(_SIZE)
        if size is None:
            tensors.append(Tensor(given.name, _from_json(given)))
            continue
        if not isinstance(size, int) or not 0 <= size <= len(body) - at:
            raise Refusal(400, f"{_SIZE} of {given.name!r} is {size!r}; {len(body) - at} bytes are left in the body.")
        tensors.append(Tensor(given.name, _from_binary(given, body[at : at + size])))
        at += size
    if at != len(body):
        raise Refusal(400, f"{len(body) - at} bytes of the body belong to no input; give each its {_SIZE}.")
    return request, tensors


def write_answer(
    head: dict[str, Any], tensors: Sequence[Tensor], request: InferenceRequest
) -> tuple[bytes, dict[str, str]]:
    """Body and headers of an answer with the outputs that are wanted, each in the form that is wanted.

    Raises:
        Refusal: an output is wanted that there is not.
    """
    by_name = {tensor.name: tensor for tensor in tensors}
    wanted = [Output(name) for name in by_name] if request.outputs is None else request.outputs
    if unknown := [each.name for each in wanted if each.name not in by_name]:
        raise Refusal(400, f"The outputs {', '.join(unknown)} are unknown; there are: {', '.join(by_name)}.")
    outputs, parts = [], []
    for each in wanted:
        tensor = by_name[each.name]
        about: dict[str, Any] = {"name": tensor.name, "datatype": tensor.datatype, "shape": tensor.shape}
        if each.parameters.get("binary_data", request.parameters.get("binary_data_output", False)):
            parts.append(_binary(tensor))
            outputs.append(about | {"parameters": {_SIZE: len(parts[-1])}})
        else:
            values = tensor.values
            data = [v.decode() for v in values] if isinstance(values, list) else values.ravel().tolist()
            outputs.append(about | {"data": data})
    text = json.dumps({**head, "outputs": outputs}).encode()
    if not parts:
        return text, {"content-type": "application/json"}
    return b"".join([text, *parts]), {"content-type": "application/octet-stream", HEAD: str(len(text))}


def _binary(tensor: Tensor) -> bytes:
    if isinstance(tensor.values, list):
        return b"".join(len(each).to_bytes(4, "little") + each for each in tensor.values)
    return tensor.values.astype(tensor.values.dtype.newbyteorder("<")).tobytes()


def _from_binary(given: _Input, raw: bytes) -> "NDArray[np.uint8] | list[bytes]":
    if given.datatype == "UINT8":
        _require_size(given, len(raw))
        return np.frombuffer(raw, np.uint8).reshape(given.shape)
    _require_bytes(given)
    found, at = [], 0
    while at < len(raw):
        end = at + 4 + int.from_bytes(raw[at : at + 4], "little")
        if at + 4 > len(raw) or end > len(raw):
            raise Refusal(400, f"{given.name!r} ends within an element: four bytes of its length, then the element.")
        found.append(raw[at + 4 : end])
        at = end
    _require_size(given, len(found))
    return found


def _from_json(given: _Input) -> "NDArray[np.uint8] | list[bytes]":
    if given.datatype == "UINT8":
        try:
            values = np.array(given.data)
        except ValueError:  # rows of several lengths
            values = np.array(None)
        if values.dtype.kind not in "iu" or values.min() < 0 or values.max() > 255:
            raise Refusal(400, f"The data of {given.name!r} must be whole numbers from 0 to 255, flat or in rows.")
        _require_size(given, values.size)
        return values.astype(np.uint8).reshape(given.shape)
    _require_bytes(given)
    try:
        found = [base64.b64decode(each, validate=True) for each in msgspec.convert(given.data, list[str])]
    except (binascii.Error, ValueError) as error:
        raise Refusal(
            400, f"The data of {given.name!r} must be a list of files in Base64 ({error}); or send them binary."
        ) from error
    _require_size(given, len(found))
    return found


def _require_bytes(given: _Input) -> None:
    if given.datatype != "BYTES":
        raise Refusal(400, f"{given.name!r} is {given.datatype}; allowed: BYTES for image, UINT8 for pixels.")


def _require_size(given: _Input, size: int) -> None:
    if size != math.prod(given.shape):
        raise Refusal(400, f"The shape of {given.name!r} is {given.shape}, and there are {size} values.")
