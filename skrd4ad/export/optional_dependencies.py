"""The toolkits that exports are made and run with, imported when they are first needed."""

import importlib
import platform
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from skrd4ad.errors import DependencyError


def openvino() -> Any:
    """The module ``openvino``."""
    return _imported("openvino")


def nncf() -> Any:
    """The module ``nncf``, which quantises OpenVINO models."""
    module = _imported("nncf")
    module.set_log_level("ERROR")
    return module


def onnxruntime() -> Any:
    """The module ``onnxruntime``."""
    module = _imported("onnxruntime")
    module.disable_telemetry_events()
    return module


def onnx() -> Any:
    """The module ``onnx``; torch needs ``onnxscript`` beside it to write such models."""
    _imported("onnxscript")
    return _imported("onnx")


def computes_bf16() -> bool:
    """Whether this processor computes in bf16; otherwise OpenVINO takes another precision without a word."""
    return "BF16" in openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def processor_name() -> str:
    """What the processor calls itself, as far as the system tells."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _imported(package: str) -> Any:
    # openvino and nncf report their use over the internet as soon as they are imported; both do without this package
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise DependencyError(
            f"This needs the Python package {package}, which cannot be used here ({error}). Install it, for example "
            f"with `pip install {package}`."
        ) from error
