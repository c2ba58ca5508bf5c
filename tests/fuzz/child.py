"""The process of one target: `python -m tests.fuzz.child TARGET [argument of libFuzzer...]`."""

import sys

import atheris

with atheris.instrument_imports(include=["flowpi.wire", "flowpi.dsp"]):
    from tests.fuzz.targets import TARGETS

if __name__ == "__main__":
    _, name, *arguments = sys.argv
    atheris.Setup([sys.argv[0], *arguments], TARGETS[name])
    atheris.Fuzz()
