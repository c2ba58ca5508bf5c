"""Opens the input of a codec that is mute after each boot, and leaves alone what somebody has set."""

import contextlib
import logging
from collections.abc import Iterator, Sequence
from typing import Any

import alsaaudio

from flowpi.config.boards import Control

log = logging.getLogger(__name__)

CAPTURE_STEPS = (alsaaudio.PCM_CAPTURE, alsaaudio.VOLUME_UNITS_RAW)


def open_input(mixer: str, controls: Sequence[Control]) -> None:
    """Change the controls that have the value with which the codec boots.

    A control that is not there, or lacks the part, is passed over, as the revisions of a board differ. Another value
    than that of the boot is somebody's setting, mostly what `alsactl store` has kept, and stays.

    Args:
        mixer: the ALSA name of the mixer, such as `hw:wm8960soundcard`.
        controls: what to change.
    """
    changed = []
    for control, element in _as_after_boot(mixer, controls):
        try:
            _set(element, control)
        except alsaaudio.ALSAAudioError as error:
            log.warning("%s of %s cannot be set: %s", control.name, mixer, error)
        else:
            changed.append(control.name)
    if changed:
        log.info("the mixer of %s was as after a boot: set %s", mixer, ", ".join(dict.fromkeys(changed)))


def as_after_boot(mixer: str, controls: Sequence[Control]) -> list[str]:
    """Return the names of the controls that `open_input` would change."""
    return list(dict.fromkeys(control.name for control, _ in _as_after_boot(mixer, controls)))


def _as_after_boot(mixer: str, controls: Sequence[Control]) -> Iterator[tuple[Control, Any]]:
    """Yield each control that has the value of the boot, with its element, which is open until the next one."""
    for control in controls:
        try:
            element = alsaaudio.Mixer(control=control.name, device=mixer)
        except alsaaudio.ALSAAudioError:
            continue
        with contextlib.closing(element):
            if set(_values(element, control)) == {control.boots_at}:
                yield control, element


def _values(element: Any, control: Control) -> list[int]:
    """Return the value of each channel; none if the control has no such part, or the card is gone."""
    try:
        if control.kind == "volume":
            return list(element.getvolume(*CAPTURE_STEPS))
        if _is_of_capture(element):
            return list(element.getrec())
        return [1 - mute for mute in element.getmute()]
    except alsaaudio.ALSAAudioError:
        return []


def _set(element: Any, control: Control) -> None:
    if control.kind == "volume":
        element.setvolume(control.set_to, alsaaudio.MIXER_CHANNEL_ALL, *CAPTURE_STEPS)
    elif _is_of_capture(element):
        element.setrec(control.set_to)
    else:
        element.setmute(1 - control.set_to)


def _is_of_capture(element: Any) -> bool:
    """Whether ALSA counts a switch as one of capture. One on the way to the converter it counts as one of playback."""
    return "Capture Mute" in element.switchcap()
