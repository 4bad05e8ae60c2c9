"""From a traced graph to the files of another toolkit."""

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import rich
import torch
from numpy.typing import NDArray
from torch.export import ExportedProgram

from skrd4ad.export import optional_dependencies
from skrd4ad.export.manifest import INPUT
from skrd4ad.types import ImageSize, height_width

Read = Callable[[], NDArray[np.uint8]]
"""Reads one image: (1, H, W, 3) RGB."""

METADATA = "skrd4ad"
"""Key under which a converted model holds the facts about itself, as JSON."""
_ONE_AT_A_TIME = threading.Lock()
"""torch's decompositions change operator tables of the whole process while they run."""
_SMALL = 1024
"""Values; a constant with fewer stays in 32 bits where weights are stored in 16."""

_BEHIND_FEATURES = ("ReduceSum", "AvgPool")
"""Operations by which cosines and descriptors of patches begin; no network here has one."""
_FEEDS = ("Multiply", "Power", "Constant")
_FLOAT_TYPES = (
    # normalising, and the products that cosines are sums of: a step of 1/256 there moves the map itself
    *("Subtract", "Divide", "Multiply", "Power"),
    # depthwise convolutions and their ReLU6: a small part of the time, and most of the error
    *("GroupConvolution", "Clamp"),
)
"""Operations that an int8 model computes in float, as its first convolution and all that follows the features. With all
of them in int8, half of the verdicts on solar cells were others; this was set while looking at the test images of the
two demo models."""


def write_onnx(
    program: ExportedProgram, target: Path, *, outputs: Sequence[str], metadata: str, halve: bool = False
) -> None:
    """Write a traced graph as one ``.onnx`` file. ``halve``: store weights as 16-bit floats; they are computed with as
    32-bit ones."""
    onnx = optional_dependencies.onnx()
    with _ONE_AT_A_TIME:
        converted = torch.onnx.export(program, input_names=[INPUT], output_names=list(outputs), verbose=False)
    assert converted is not None
    model = converted.model_proto
    _name_first_axis(model.graph)
    if halve:
        _halve_weights(onnx, model)
    onnx.helper.set_model_props(model, {METADATA: metadata})
    onnx.save(model, str(target))


def write_openvino(
    program: ExportedProgram,
    target: Path,
    *,
    size: ImageSize,
    batch: int | None,
    outputs: Sequence[str],
    metadata: str,
    halve: bool = False,
    normals: Sequence[Read] | None = None,
) -> None:
    """Write a traced graph as OpenVINO IR: ``<target>.xml`` and the weights beside it. ``halve``: store weights as
    16-bit floats. ``normals``: images of good parts, each read several times; when given, convolutions are quantised to
    int8 by them."""
    openvino = optional_dependencies.openvino()
    with _ONE_AT_A_TIME, _root_logger_kept():
        model = openvino.convert_model(program)
    model.reshape([-1 if batch is None else batch, *height_width(size), 3])
    model.inputs[0].get_tensor().set_names({INPUT})
    for output, name in zip(model.outputs, outputs, strict=True):
        output.get_tensor().set_names({name})
    if normals is not None:
        model = _quantised(model, normals, batch=batch or 1)
    model.set_rt_info(metadata, [METADATA])
    openvino.save_model(model, str(target), compress_to_fp16=halve)
    _keep_scoring_precise(target)


@contextmanager
def _root_logger_kept() -> Iterator[None]:
    """Undo what OpenVINO does to the root logger: it lets errors alone through, and after one leaves it so."""
    root, own = logging.getLogger(), logging.getLogger("skrd4ad")
    level, filters, handlers, own_level = root.level, [*root.filters], [*root.handlers], own.level
    # other threads go on meanwhile, and what they warn of is to be heard
    own.setLevel(own.getEffectiveLevel())
    try:
        yield
    finally:
        own.setLevel(own_level)
        root.setLevel(level)
        root.filters, root.handlers = filters, handlers


def _keep_scoring_precise(file: Path) -> None:
    """Mark what follows the features as ``precise``: where convolutions are computed in bf16, it stays in float32. One
    less a cosine near one has hardly a digit left in bf16."""
    root = ElementTree.parse(file).getroot()
    layers = {layer.get("id"): layer for layer in root.iter("layer")}
    edges = [(edge.get("from-layer"), edge.get("to-layer")) for edge in root.iter("edge")]
    marked = {number for number, layer in layers.items() if layer.get("type") in _BEHIND_FEATURES}
    todo = set(marked)
    while todo:
        todo = {after for before, after in edges if before in todo} - marked
        marked |= todo
    # the products that the sums are of, and constants
    todo = marked
    while todo:
        todo = {before for before, after in edges if after in todo and layers[before].get("type") in _FEEDS} - marked
        marked |= todo
    for layer in (layers[number] for number in marked):
        info = layer.find("rt_info")
        if info is None:
            info = ElementTree.Element("rt_info")
            layer.insert(0 if layer.find("data") is None else 1, info)
        ElementTree.SubElement(info, "attribute", {"name": "precise", "version": "0"})
    ElementTree.ElementTree(root).write(file, encoding="utf-8", xml_declaration=True)


def _quantised(model: Any, normals: Sequence[Read], *, batch: int) -> Any:
    nncf = optional_dependencies.nncf()
    # all other convolutions come after the one that sees the pixels
    first = next(op.get_friendly_name() for op in model.get_ordered_ops() if op.get_type_name() == "Convolution")
    # its bars go to standard output, where a command's JSON document may be expected
    rich.reconfigure(quiet=True)
    try:
        return nncf.quantize(
            model,
            nncf.Dataset(normals, lambda read: np.repeat(read(), batch, axis=0)),
            subset_size=len(normals),
            ignored_scope=nncf.IgnoredScope(
                names=[first, *_behind_features(model)], types=list(_FLOAT_TYPES), validate=False
            ),
        )
    finally:
        rich.reconfigure()


def _behind_features(model: Any) -> list[str]:
    """Names of the operations of an OpenVINO model that follow the features: cosines, patches, map and score."""
    todo = [op for op in model.get_ops() if op.get_type_name() in _BEHIND_FEATURES]
    names = {op.get_friendly_name() for op in todo}
    while todo:
        after = [target.get_node() for output in todo.pop().outputs() for target in output.get_target_inputs()]
        new = [op for op in after if op.get_friendly_name() not in names and op.get_type_name() != "Result"]
        names |= {op.get_friendly_name() for op in new}
        todo += new
    return sorted(names)


def _name_first_axis(graph: Any) -> None:
    """Call the number of images ``N`` everywhere; the exporter names it after its own symbol."""
    first = graph.input[0].type.tensor_type.shape.dim[0]
    symbol = first.dim_param
    if not symbol:
        return
    for value in (*graph.input, *graph.output, *graph.value_info):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param == symbol:
                dim.dim_param = "N"


def _halve_weights(onnx: Any, model: Any) -> None:
    """Store large constants as 16-bit floats, each with a cast behind it that runtimes do once, when they load."""
    casts = []
    for weight in model.graph.initializer:
        values = onnx.numpy_helper.to_array(weight)
        if values.dtype != np.float32 or values.size < _SMALL:
            continue
        name = weight.name
        weight.CopyFrom(onnx.numpy_helper.from_array(values.astype(np.float16), f"{name}_fp16"))
        casts.append(onnx.helper.make_node("Cast", [f"{name}_fp16"], [name], to=onnx.TensorProto.FLOAT))
    # nodes are in the order of computation
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
