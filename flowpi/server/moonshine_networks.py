"""Opens the encoder and the decoder of a Moonshine model.

Theory of operation. As tiny is published, a step of its decoder spends three quarters of its time on operations that
compute nothing. So flowpi has graphs of its own for it, `model/tiny_graphs.py`, with the same weights and texts. They
hold no weights, but say in which bytes of the published files each one lies, and which checksums these files have. Base
is converted by `model/convert.py`, to files that are such graphs and hold the weights. The files of any other model are
opened as they are.

onnxruntime refuses weights outside of the directory that it is given, which a file that is a link leads out of, and
its rules have become stricter with its versions. A recogniser that is slower is better than none: then, too, the
published files are opened.
"""

import logging
import mmap
import zlib
from pathlib import Path
from typing import Any

from flowpi.server.model_files import FILES, set_of
from flowpi.server.onnx import open_network
from flowpi.server.onnx_metadata import read_metadata

log = logging.getLogger(__name__)

GRAPHS = tuple(
    Path(__file__).parents[1] / "data" / f"moonshine_tiny_{network}.onnx" for network in ("encoder", "decoder")
)


def open_networks(directory: Path) -> tuple[Any, Any]:
    """Open the encoder and the decoder of the model in a directory.

    Raises:
        Exception: one cannot be read. The exceptions of onnxruntime have no common base class.
    """
    files = set_of(directory)
    if files == FILES and all(_has_weights(directory, graph) for graph in GRAPHS):
        try:
            encoder, decoder = (open_network(graph, directory) for graph in GRAPHS)
        except Exception as error:  # as above
            log.warning("the model in %s is opened as it is published, and slower: %s", directory, error)
        else:
            return encoder, decoder
    encoder, decoder, _ = files
    return open_network(directory / encoder), open_network(directory / decoder)


def _has_weights(directory: Path, graph: Path) -> bool:
    """Return whether the files that a graph refers to are those that it was made for."""
    return all(checksum(directory / name) == wanted for name, wanted in read_metadata(graph).items())


def checksum(path: Path) -> str:
    """Return the CRC-32 of a file: it tells models apart, and is quick on every processor."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return f"{zlib.crc32(data):08x}"
