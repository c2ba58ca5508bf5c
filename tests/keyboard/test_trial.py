"""`flowpi keyboard test`, ended from outside while a key is down."""

import asyncio
import os
import signal

import pytest

from flowpi.config.keyboard import KeyboardSettings
from flowpi.core.typing.strokes import IDLE
from flowpi.keyboard import trial
from flowpi.keyboard.layouts import layout
from tests.keyboard.scripted_keyboard import ScriptedKeyboard


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_releases_all_keys(number: signal.Signals, monkeypatch: pytest.MonkeyPatch) -> None:
    computer = ScriptedKeyboard()
    monkeypatch.setattr(trial, "output_of", lambda settings: computer.open)
    monkeypatch.setattr(trial, "become", lambda user: None)
    computer.after[4] = lambda: os.kill(os.getpid(), number)  # three reports ask, the fourth is a key
    before = signal.signal(number, signal.SIG_IGN)
    try:
        with pytest.raises(asyncio.CancelledError):
            trial.type_once(KeyboardSettings(kind="hid", layout="us"), layout("us").strokes("a" * 100))
    finally:
        signal.signal(number, before)
        computer.close()
    assert computer.down == IDLE
    assert 1 <= len(computer.typed) < 100
