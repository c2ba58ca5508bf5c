"""Converts Moonshine base from the form in which its makers ship it to one that needs a sixth of the computing time.

    python model/convert.py WHEEL DIRECTORY

WHEEL is that of moonshine-cpp, with the model's files in it. Their weights are int8, but are multiplied out to floats
at every run, and the largest of them, 54 MB, is transposed at every token. Here they stay the numbers that they are,
but unsigned: products with signed ones saturate at 16 bits on an x86-64 without VNNI, where the model then writes three
times as many errors. The operations around them are those of `lean.py`.

The same files with the same versions of the libraries give the same bytes, on every machine: `make model` checks it.
"""

import re
import shutil
import sys
import tempfile
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from lean import Matrix, Source, decoder, encoder, write
from numpy.typing import NDArray
from onnx import numpy_helper

ENCODER, DECODER, TOKENIZER = "encoder_model.ort", "decoder_model_merged.ort", "tokenizer.bin"
"""The files of the model as it is shipped."""

CONVERTED = "encoder_model.onnx", "decoder_model.onnx"
"""The networks as they are written. flowpi finds them by these names: `flowpi/server/model_files.py`."""


def convert(source: Path, target: Path) -> None:
    """Convert all files of a model."""
    target.mkdir(parents=True, exist_ok=True)
    sources = [Exported(source / name) for name in (ENCODER, DECODER)]
    for graph, name in zip((encoder(*sources), decoder(sources[1])), CONVERTED, strict=True):
        write(graph, target / name)
    shutil.copyfile(source / TOKENIZER, target / TOKENIZER)


class Exported(Source):
    """A network that multiplies its weights out: `name_quantized` * `name_scale` + `name_zero_point`.

    Of these, the first is int8 of any shape, and the others are floats of shape (1,). The result is `name_add_tensor`.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        for name in [name.removesuffix("_quantized") for name in self.weights if name.endswith("_quantized")]:
            numbers, scale, offset = (self._array(f"{name}_{part}") for part in ("quantized", "scale", "zero_point"))
            if numbers.ndim == 2:
                self._set_matrix(name, numbers, float(scale[0]), float(offset[0]))
            else:  # of a convolution, which is computed with floats
                self._set(f"{name}_add_tensor", numbers.astype(np.float32) * scale + offset)

    def matrix(self, made: str) -> Matrix:
        node = self.node(made)
        if node.op_type == "Add":
            product, bias = sorted(node.input, key=lambda name: name not in self.nodes)
            return replace(self.matrix(re.escape(product)), bias=bias)
        assert node.op_type == "MatMul"
        transposed = self.nodes[node.input[1]].op_type == "Transpose"
        name = self.nodes[node.input[1]].input[0] if transposed else node.input[1]
        name = name.removesuffix("_add_tensor")
        numbers = f"{name}_quantized"
        if transposed:
            self._set(f"{name}_transposed", self._array(numbers).T)
            numbers = f"{name}_transposed"
        return Matrix(numbers, f"{name}_scale", f"{name}_zero_point")

    def _set_matrix(self, name: str, numbers: NDArray[np.int8], scale: float, offset: float) -> None:
        """Set the weights of a matrix to unsigned numbers with a zero point; none is rounded."""
        zero = round(128 - offset / scale)
        assert abs(128 - offset / scale - zero) < 0.001
        self._set(f"{name}_quantized", (numbers.astype(np.int16) + 128).astype(np.uint8))
        self._set(f"{name}_scale", np.float32(scale))
        self._set(f"{name}_zero_point", np.uint8(zero))

    def _array(self, name: str) -> NDArray[Any]:
        return numpy_helper.to_array(self.weights[name])

    def _set(self, name: str, values: Any) -> None:
        self.weights[name] = numpy_helper.from_array(np.array(values, order="C"), name)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as unpacked:
        zipfile.ZipFile(sys.argv[1]).extractall(unpacked)
        (files,) = Path(unpacked).glob("*/purelib/moonshine_cpp/models/base-en")
        convert(files, Path(sys.argv[2]))
