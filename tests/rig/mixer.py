"""The mixer of a codec, in the real ALSA library: see `mixer.c`.

`Mixer(config_path, controls)` adds a mixer of the name `codec` to an asound.conf, mostly that of a `Microphone`.
"""

from pathlib import Path

from tests.rig import compiled

SOURCE = Path(__file__).with_name("mixer.c")

CONFIG = """\
ctl_type.mixer {{ lib "{plugin}" }}
ctl.codec {{ type mixer directory "{directory}" }}
"""

WM8960: dict[str, tuple[int, ...]] = {
    "Capture Volume": (23, 23),
    "Capture Switch": (0, 0),
    "Left Input Mixer Boost Switch": (0,),
    "Right Input Mixer Boost Switch": (0,),
}
"""What the codec boots with, by the kernel's driver: see `flowpi/config/boards.py`."""

TLV320AIC3104: dict[str, tuple[int, ...]] = {"PGA Capture Volume": (32, 32)}


class Mixer:
    """The mixer `codec`. Its controls are items: `mixer["Capture Volume"]` is the value of each channel."""

    def __init__(self, config_path: Path, controls: dict[str, tuple[int, ...]]) -> None:
        plugin = compiled.build(SOURCE, "-DPIC", "-lasound", packages="libasound2-dev")
        self._directory = config_path.with_name("codec")
        self._directory.mkdir()
        for name, values in controls.items():
            self[name] = values
        with config_path.open("a") as file:
            file.write(CONFIG.format(plugin=plugin, directory=self._directory))

    def __getitem__(self, name: str) -> tuple[int, ...]:
        return tuple(map(int, (self._directory / name).read_text().split()))

    def __setitem__(self, name: str, values: tuple[int, ...]) -> None:
        (self._directory / name).write_text(" ".join(map(str, values)))
