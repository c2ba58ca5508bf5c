"""Writes the graphs with which flowpi runs Moonshine tiny: `flowpi/data/moonshine_tiny_*.onnx`.

    python model/tiny_graphs.py MODEL DIRECTORY

MODEL is the directory of the model as it is published in moonshine-voice. The graphs hold no weights: they refer to the
bytes of the files in MODEL, and name their checksums. The same files give the same graphs.
"""

import sys
from pathlib import Path

from lean import Source, decoder, encoder, write
from onnx import TensorProto, helper
from ort_format import read_places

from flowpi.server.moonshine_networks import checksum

FILES = ENCODER, DECODER = "encoder_model.ort", "decoder_model_merged.ort"

SMALL = 64
"""Weights of up to this many bytes are copied: a reference would be longer."""


def write_graphs(model: Path, directory: Path) -> None:
    """Write both graphs."""
    sources = [Source(model / name) for name in FILES]
    # The names of weights in the one file are none in the other.
    places = {name: (file, *place) for file in FILES for name, place in read_places(model / file).items()}
    for name, graph in (("encoder", encoder(*sources)), ("decoder", decoder(sources[1]))):
        used = {refer(tensor, *places[tensor.name]) for tensor in graph.graph.initializer if tensor.name in places}
        files = sorted(used - {""})
        helper.set_model_props(graph, {file: checksum(model / file) for file in files})
        write(graph, directory / f"moonshine_tiny_{name}.onnx")


def refer(tensor: TensorProto, file: str, offset: int, length: int) -> str:
    """Replace the data of a tensor with its place in a file, if it is not small; return the file or an empty string."""
    if length <= SMALL:
        return ""
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", file), ("offset", offset), ("length", length)):
        tensor.external_data.add(key=key, value=str(value))
    return file


if __name__ == "__main__":
    write_graphs(Path(sys.argv[1]), Path(sys.argv[2]))
