"""SIGHUP with an invalid configuration: the old one stays, a log line says what is wrong, and recording goes on."""

import functools
import os
import random
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from flowpi.config.loading import load
from flowpi.core.errors import ConfigError, FlowpiError
from tests.reliability.lives import Lives
from tests.reliability.mutations import REFERENCE, mutated, without_comments
from tests.rig.microphone import Microphone

STAYS = "the configuration is not reloaded, the old one stays"
TAKEN = "configuration reloaded"
EACH = 8
"""The most configurations in the course of one dictation; one of them is no file."""


def a_directory(path: Path) -> None:
    path.mkdir()


def a_pipe(path: Path) -> None:
    os.mkfifo(path)


def a_link_to_itself(path: Path) -> None:
    path.symlink_to(path)


def without_end(path: Path) -> None:
    path.symlink_to("/dev/zero")


def nothing(path: Path) -> None:
    pass


NO_FILE = [a_directory, a_pipe, a_link_to_itself, without_end, nothing]


def clear(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        path.rmdir()
    else:
        path.unlink(missing_ok=True)


class Reloads:
    """Reloads of a daemon during dictations. `taken` and `refused`: the numbers of accepted and refused ones."""

    def __init__(self, lives: Lives, path: Path) -> None:
        path.write_bytes(REFERENCE.read_bytes())
        self._lives = lives
        self._path = path
        self._daemon = lives.start()
        self._read = 0
        self.taken = self.refused = 0
        lives.speaker.connect()
        lives.speaker.press()

    def mistake(self) -> FlowpiError | None:
        """Return what is wrong with the configuration by the rules of `flowpi config check`, or None."""
        try:
            load(str(self._path), self._lives.appliance.options[1::2])
        except FlowpiError as error:
            return error
        return None

    def reload(self) -> bool:
        """Reload, and return whether the daemon accepts the file. If so, end the dictation, which the reload awaits."""
        mistake = self.mistake()
        self._daemon.notices.clear()
        self._daemon.send(signal.SIGHUP)
        self._daemon.notice("RELOADING=1")
        speaking = not self._lives.speaker.said[-1].acknowledged
        if mistake is None and speaking:
            self._lives.speaker.release()
        self._daemon.notice("READY=1")
        said = self._said()
        assert "Traceback" not in said
        refusals = [line for line in said.splitlines() if STAYS in line]
        if mistake is None and not refusals:
            assert TAKEN in said
            return True
        (refusal,) = refusals
        assert TAKEN not in said
        if isinstance(mistake, ConfigError) and mistake.line is not None:
            assert f" {self._path}, line {mistake.line}: " in refusal
        elif mistake is not None:
            assert str(self._path) in refusal
        return False

    def try_out(self, put: Callable[[Path], object]) -> None:
        """Try one configuration, and return to the reference."""
        clear(self._path)
        put(self._path)
        if not self.reload():
            self.refused += 1
            return
        self.taken += 1
        self.put_back()
        assert self.reload()
        self._press_when_there_is_sound()

    def put_back(self) -> None:
        """Restore the valid file without a reload."""
        clear(self._path)
        self._path.write_bytes(REFERENCE.read_bytes())

    def pause_for_breath(self) -> None:
        if not self._lives.speaker.said[-1].acknowledged:
            self._lives.speaker.release()
        self._press_when_there_is_sound()

    def _press_when_there_is_sound(self) -> None:
        """Press once there is sound again: with another rate, for example, the microphone could not be opened."""
        client = self._lives.appliance.connect().subscribe("state")
        client.wait("state", lambda state: all(fault["code"] != "microphone" for fault in state["faults"]))
        client.close()
        self._lives.speaker.press()

    def _said(self) -> str:
        text = self._daemon.log.read_bytes()[self._read :]
        self._read += len(text)
        return text.decode(errors="replace")


@pytest.mark.promise("P25")
def test_a_bad_configuration_changes_nothing_and_a_good_one_is_taken(
    tmp_path: Path, microphone: Microphone, times: Callable[[int, int], int], measured: Callable[..., None]
) -> None:
    path = tmp_path / "flowpi.yaml"
    lives = Lives(tmp_path / "0", config=path)
    chance = random.Random(0)
    try:
        lives.serve()
        reloads = Reloads(lives, path)
        for n in range(times(60, 500)):
            text = mutated(without_comments(REFERENCE.read_bytes()), chance)
            if n % EACH:
                reloads.try_out(functools.partial(Path.write_bytes, data=text))
            else:
                reloads.try_out(NO_FILE[n // EACH % len(NO_FILE)])
                reloads.pause_for_breath()
        lives.speaker.release()
        reloads.put_back()
        verdict = lives.last_words()
        assert verdict.good, verdict
    finally:
        lives.close()
    assert reloads.refused > reloads.taken > 0
    measured(refused=reloads.refused, taken=reloads.taken, dictations_meanwhile=verdict.acknowledged, gaps=0)
