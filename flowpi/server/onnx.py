"""The one way in which flowpi opens a network with onnxruntime, so that all of them behave alike beside each other."""

from pathlib import Path
from typing import Any

import onnxruntime


def open_network(path: Path, weights: Path | None = None) -> Any:
    """Open the network in `path`: an `InferenceSession`, safe to use from several threads at once.

    A run uses the thread that calls it and no other, and holds no lock of Python's.

    Args:
        weights: the directory of the files that hold its weights, if `path` only refers to them.

    Raises:
        Exception: it cannot be read. The exceptions of onnxruntime have no common base class.
    """
    options = onnxruntime.SessionOptions()
    # A second thread gains nothing on inputs this short, and a spinning one burns the CPU between them.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.enable_cpu_mem_arena = False  # it keeps 20 MB for the longest segment there was, and saves no time
    options.log_severity_level = 4  # onnxruntime logs a halted run as an error
    if weights is None:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(weights))
    return onnxruntime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
