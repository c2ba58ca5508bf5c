"""`flowpi keyboard test --dry-run`: the keys that type a text."""

import json
from pathlib import Path

import pytest

from flowpi.cli.main import main
from flowpi.config import loading


@pytest.fixture(autouse=True)
def _no_system_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("FLOWPI_CONFIG", raising=False)
    monkeypatch.setattr(loading, "DEFAULT_PATH", str(tmp_path / "flowpi.yaml"))


def ends(capfd: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(["keyboard", "test", *arguments])
    out, err = capfd.readouterr()
    return code, out, err


def test_the_keys_of_each_character_for_a_person(capfd: pytest.CaptureFixture[str]) -> None:
    assert ends(capfd, "--dry-run", "--layout", "de", "É@\n—😀") == (
        0,
        "É  KEY_EQUAL SHIFT+KEY_E\n@  ALTGR+KEY_Q\n   KEY_SPACE\n—  SHIFT+ALTGR+KEY_SLASH\n",
        "layout de: 0 replaced, 1 left out\n",
    )


def test_the_keys_for_a_program(capfd: pytest.CaptureFixture[str]) -> None:
    code, out, err = ends(capfd, "--dry-run", "--json", "--layout", "us", "--variant", "dvorak", "É…")
    assert (code, err) == (0, "")
    assert json.loads(out) == {
        "layout": "us",
        "variant": "dvorak",
        "strokes": [{"keycode": 32, "modifiers": ["SHIFT"]}, *[{"keycode": 18, "modifiers": []}] * 3],
        "text": "É…",
        "ends": [1, 4],
        "replaced": 2,
        "dropped": 0,
    }


def test_the_layout_and_the_manner_are_those_of_the_configuration(capfd: pytest.CaptureFixture[str]) -> None:
    options = "{kind: hid, layout: gb, host: other, newline: shift-enter}"
    code, out, err = ends(capfd, "--dry-run", "-o", f"publish.keyboard={options}", "æ\n£")
    assert (code, out) == (0, "æ  KEY_A KEY_E\n   SHIFT+KEY_ENTER\n£  SHIFT+KEY_3\n")
    assert err == "layout gb: 1 replaced, 0 left out\n"


def test_without_a_text_it_types_what_differs_between_layouts(capfd: pytest.CaptureFixture[str]) -> None:
    code, out, _ = ends(capfd, "--dry-run", "--layout", "fr")
    assert code == 0
    assert "{  ALTGR+KEY_4\n" in out


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--dry-run", "--layout", "gr"], 78, "the keyboard layout is 'gr', which has no Latin letters"),
        (["--dry-run", "--variant", "neo"], 64, "--variant needs --layout"),
        (["--layout", "us"], 64, "no keyboard is configured: set publish.keyboard.kind"),
        (["--dry-run", "-o", "publish.keyboard={kind: hid}"], 78, "--set: publish.keyboard.layout is missing"),
    ],
)
def test_what_cannot_be_shown(capfd: pytest.CaptureFixture[str], arguments: list[str], code: int, said: str) -> None:
    ended, out, err = ends(capfd, *arguments)
    assert (ended, out) == (code, "")
    assert err.startswith(f"flowpi: {said}")
