"""The scripts of the world in what the commands print: as they went in, or escaped where the locale lacks them.

What a terminal would interpret comes out in no locale. Texts, reasons and names of files come from outside.
"""

import asyncio
import codecs
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flowpi.server.app import Server
from flowpi.server.engines import EchoEngine, EchoRecognition, Expected
from tests.cli.test_daemon_commands import FINAL, Daemon, message
from tests.sound import ulid
from tests.terminal import acting
from tests.waiting import PATIENCE_S

ROOT = Path(__file__).parents[2]
DEMO_WAV = ROOT / "flowpi" / "data" / "demo.wav"

SCRIPTS = {
    "Persian": "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
    "Hindi": "\u0915\u094d\u200d\u0937",
    "Sinhala": "\u0dc1\u0dca\u200d\u0dbb\u0dd3 \u0dbd\u0d82\u0d9a\u0dcf",
    "a family": "\U0001f468\u200d\U0001f469\u200d\U0001f467",
    "soft hyphens": "Donau\u00addampf\u00adschiff",
    "the flag of Scotland": "\U0001f3f4\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f",
    "Hebrew": "\u05d0\u200f!\u200e\u061c",
    "French": "Quoi\u202f? 5\u00a0%",
    "Japanese": "\u6771\u4eac\u3000\u99c5",
    "German": "Gr\u00fc\u00dfe",
}

HOSTILE = {
    "an escape sequence": ("a\x1b[2Jb", "a [2Jb"),
    "a sequence of one character": ("a\x9b2Jb", "a 2Jb"),
    "a title of the window": ("a\x1b]0;x\x07b", "a ]0;x b"),
    "an override": ("a\u202eb\u202cc", "abc"),
    "an isolate": ("a\u2067b\u2069c", "abc"),
    "ends of lines": ("a\r\nb\u2028c\u0085d", "a b c d"),
}

PLAIN = [*((text, text) for text in SCRIPTS.values()), *HOSTILE.values()]
"""What goes in, and what comes out where the locale has all of it."""

LOCALES = ("C.UTF-8", "C", "C without coercion", "en_GB.ISO-8859-1")


@pytest.fixture(scope="session")
def latin_1(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a locale of Western Europe as it was before UTF-8."""
    place = tmp_path_factory.mktemp("locales")
    command = ["localedef", "--no-archive", "-i", "en_GB", "-f", "ISO-8859-1", str(place / "en_GB.ISO-8859-1")]
    subprocess.run(command, check=True, capture_output=True, timeout=PATIENCE_S)
    return place


@pytest.fixture(params=LOCALES)
def locale(request: pytest.FixtureRequest, latin_1: Path) -> dict[str, str]:
    """The environment of a user with this locale."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("LC_", "LANG", "PYTHON"))}
    if request.param == "C without coercion":
        return {**plain, "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    return {**plain, "LC_ALL": request.param, "LOCPATH": str(latin_1)}


@pytest.fixture
def encoding(locale: dict[str, str]) -> str:
    """The encoding of what is printed in that locale. In "C", Python prints UTF-8 unless it is told not to."""
    code = "import locale; print(locale.getpreferredencoding(False))"
    done = subprocess.run([sys.executable, "-c", code], env=locale, capture_output=True, text=True, check=True)
    found = codecs.lookup(done.stdout.strip()).name
    expected = {"C": "utf-8", "C.UTF-8": "utf-8", "en_GB.ISO-8859-1": "iso8859-1"}[locale["LC_ALL"]]
    assert found == ("ascii" if "PYTHONUTF8" in locale else expected)
    return found


def run_to_the_end(
    command: list[str | bytes], config: Path, environment: dict[str, str]
) -> subprocess.CompletedProcess[bytes]:
    done = subprocess.run(
        [sys.executable, "-m", "flowpi", *command, "-c", str(config)],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, done.stderr
    return done


def run(command: list[str | bytes], config: Path, environment: dict[str, str]) -> bytes:
    return run_to_the_end(command, config, environment).stdout


def read(printed: bytes, encoding: str) -> list[str]:
    """Return the lines that were printed; what the locale lacks was escaped as Python escapes it."""
    lines = printed.decode(encoding).split("\n")
    assert lines.pop() == ""
    assert not set.union(*map(acting, lines))
    if encoding == "utf-8":
        return lines
    numbers = re.compile(r"\\u([0-9a-f]{4})|\\U([0-9a-f]{8})|\\x([0-9a-f]{2})")
    return [numbers.sub(lambda found: chr(int(found[1] or found[2] or found[3], 16)), line) for line in lines]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "flowpi.yaml"
    file.write_text(f"publish: {{socket: {{path: {tmp_path}/flowpi.sock}}}}\n")
    return file


Answers = Iterator[list[Any]]


@pytest.fixture
def say(tmp_path: Path) -> Iterator[Any]:
    """Start a daemon that gives these answers."""
    started: list[Daemon] = []
    yield lambda *answers: started.append(Daemon(tmp_path / "flowpi.sock", *answers))
    for one in started:
        one.close()


FINALS = [[{"response": 1, "ok": True}, *(message("transcript/final", {**FINAL, "text": each}) for each, _ in PLAIN)]]


@pytest.mark.parametrize(
    "options", [["--text"], ["--format", "text"], ["--format", "{text}"], ["transcript/final", "--format", "{text}"]]
)
def test_listen_prints_each_text_as_one_line(
    say: Any, config: Path, locale: dict[str, str], encoding: str, options: list[str]
) -> None:
    say(*FINALS)
    printed = run(["listen", *options, "-n", str(len(PLAIN))], config, locale)
    assert read(printed, encoding) == [line for _, line in PLAIN]


def test_listen_prints_json_that_means_the_same(say: Any, config: Path, locale: dict[str, str], encoding: str) -> None:
    say(*FINALS)
    printed = run(["listen", "-n", str(len(PLAIN))], config, locale)
    lines = printed.decode(encoding).split("\n")[:-1]
    assert not set.union(*map(acting, lines))
    assert [json.loads(line)["payload"]["text"] for line in lines] == [text for text, _ in PLAIN]


def test_last_prints_json_that_means_the_same(say: Any, config: Path, locale: dict[str, str], encoding: str) -> None:
    say([{"response": 1, "ok": True, "transcripts": [{**FINAL, "text": text} for text, _ in PLAIN], "more": False}])
    (line,) = run(["last", "99", "--json"], config, locale).decode(encoding).splitlines()
    assert not acting(line)
    assert [one["text"] for one in json.loads(line)] == [text for text, _ in reversed(PLAIN)]


def test_record_prints_each_text_as_one_line(say: Any, config: Path, locale: dict[str, str], encoding: str) -> None:
    ending = {"outcome": "text", "texts": [text for text, _ in PLAIN]}
    say([{"response": 1, "ok": True, "state": "idle", "ending": ending}])
    printed = run(["record", "stop", "--wait"], config, locale)
    assert read(printed, encoding) == [line for _, line in PLAIN]


def test_spool_list_prints_each_reason(say: Any, config: Path, locale: dict[str, str], encoding: str) -> None:
    waiting = [
        {"name": ulid(number), "id": ulid(number), "part": 1, "state": "waiting", "reason": reason, "duration_s": 1.0,
         "said_at": "2023-11-14T22:13:20.000Z"}
        for number, (reason, _) in enumerate(PLAIN)
    ]  # fmt: skip
    say([{"response": 1, "ok": True, "spool": waiting, "more": False, "directory": "/spool"}])
    lines = read(run(["spool", "list"], config, locale), encoding)
    assert [" ".join(re.split(" +", line.partition("waiting: ")[2])) for line in lines] == [line for _, line in PLAIN]


def test_the_directory_of_a_daemon_is_named_safely(
    say: Any, config: Path, locale: dict[str, str], encoding: str
) -> None:
    places = "/".join(text for text, _ in PLAIN)
    say([{"response": 1, "ok": True, "spool": [], "more": False, "directory": f"/{places}"}])
    done = run_to_the_end(["spool", "list"], config, locale)
    (line,) = read(done.stderr, encoding)
    assert line.startswith(f"nothing waits in /{'/'.join(SCRIPTS.values())}/a [2Jb/")


def test_the_directory_without_a_daemon_is_named_safely(config: Path, locale: dict[str, str], encoding: str) -> None:
    place = f"{config.parent}/a\x1b[2Jb"
    config.write_text(config.read_text() + f"spool: {{directory: {json.dumps(place)}}}\n")
    done = run_to_the_end(["spool", "list"], config, locale)
    shown = f"{config.parent}/a [2Jb"
    assert read(done.stderr, encoding) == [
        f"flowpi: no daemon runs: this is what lies in {shown}",
        f"nothing waits in {shown}",
    ]


def test_spool_list_prints_names_that_can_be_typed(
    tmp_path: Path, config: Path, locale: dict[str, str], encoding: str
) -> None:
    """Names of files are bytes: the encoding of the locale is that of their letters, too."""
    config.write_text(config.read_text() + f"spool: {{directory: {tmp_path}/spool}}\n")
    home = tmp_path / "spool" / "quarantine"
    home.mkdir(parents=True)
    for text, _ in PLAIN:
        (home / os.fsdecode(text.encode())).touch()
    found = json.loads(run(["spool", "list", "--json"], config, locale))
    assert len(found) == len(PLAIN)
    printed = run(["spool", "list"], config, locale)
    if locale["LC_ALL"] == "C.UTF-8":
        names = {line.split(" 0:00 ")[0].strip() for line in read(printed, "utf-8")}
        assert names >= {f"quarantine/{text.replace('%', '%25')}" for text in SCRIPTS.values()}
    assert not set.union(*map(acting, printed.decode(encoding).split("\n")))
    for one in found:
        run(["spool", "drop", one["name"].encode(encoding)], config, locale)
    assert list(home.iterdir()) == []


@pytest.mark.parametrize("setting", ["spool.directory", "publish.socket.path"])
def test_a_path_that_the_locale_cannot_write_is_a_sentence(
    config: Path, locale: dict[str, str], encoding: str, setting: str
) -> None:
    command = [sys.executable, "-m", "flowpi", "config", "check", "-c", str(config), "-o", f'{setting}="/run/\\u0645"']
    done = subprocess.run(command, env=locale, cwd=ROOT, capture_output=True, timeout=PATIENCE_S)
    if encoding == "utf-8":
        assert (done.returncode, done.stderr) == (0, b"")
        return
    name = {"ascii": "ascii", "iso8859-1": "latin-1|iso8859-1"}[encoding]
    assert (done.returncode, done.stdout) == (78, b"")
    assert re.fullmatch(
        rf"flowpi: --set: {setting} is '/run/\\u0645', which the locale of this user cannot write \(({name})\): "
        r"set LC_ALL=C\.UTF-8, or write another path\n",
        done.stderr.decode(),
    ), done.stderr


class Quoting(EchoEngine):
    """An engine that hears the next of these texts in each recording."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._texts = iter(texts)

    def recognition(self, expected: Expected) -> EchoRecognition:
        recognition = EchoRecognition()
        recognition.finish = lambda: next(self._texts)  # type: ignore[method-assign]
        return recognition


@pytest.mark.parametrize("form", ["txt", "json"])
async def test_transcribe_prints_each_text(tmp_path: Path, locale: dict[str, str], encoding: str, form: str) -> None:
    address = f"unix:{tmp_path}/asr.sock"
    async with Server([address], Quoting(text for text, _ in PLAIN)), asyncio.timeout(2 * PATIENCE_S):
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "flowpi", "-c", os.devnull, "-o", f"backends.local.url=ws+unix://{tmp_path}/asr.sock",
            "transcribe", "-f", form, *[str(DEMO_WAV)] * len(PLAIN),
            env=locale, cwd=ROOT, stdout=subprocess.PIPE,
        )  # fmt: skip
        printed, _ = await process.communicate()
    lines = read(printed, encoding)
    if form == "txt":
        assert lines == [line for _, text in PLAIN for line in (f"==> {DEMO_WAV} <==", text)]
    else:
        assert [json.loads(line)["text"] for line in printed.decode("ascii").splitlines()] == [
            text for _, text in PLAIN
        ]
