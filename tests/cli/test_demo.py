import wave
from pathlib import Path
from typing import Any

import pytest

from flowpi.cli import demo
from flowpi.config.loading import load
from flowpi.dsp.format import FRAME_BYTES, RATE_HZ
from tests.sound import noise


def test_a_text_that_came_late_has_no_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As on a machine that is so slow that the first attempt was given up."""

    async def late(finals: object) -> tuple[dict[str, Any], float, dict[str, Any]]:
        return {"text": "It was.", "late": True}, 0.0, {"release_to_final_ms": None}

    monkeypatch.setattr(demo, "_final", late)
    path = tmp_path / "short.wav"
    with wave.open(str(path), "wb") as file:
        file.setparams((1, FRAME_BYTES, RATE_HZ, 0, "NONE", ""))
        file.writeframes(noise(0.2))
    assert demo.demo(load(None, ["server.engine=echo"]), wav=str(path), microphone=False) == 0
    shown = capsys.readouterr().out
    assert "\ntext    It was.\n" in shown
    assert "came late" in shown
    assert " ms\n" not in shown.partition("came late")[2]
