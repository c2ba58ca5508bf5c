"""The commands that talk to the daemon, with a daemon whose answers a test determines."""

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from flowpi.cli.listen import DEFAULT_FILTERS, listen
from flowpi.cli.main import main
from flowpi.cli.record import record
from flowpi.cli.status import status
from flowpi.client import DaemonConnection
from flowpi.config.schema import Config, PublishSettings, SocketSettings
from flowpi.core.errors import (
    DaemonUnavailable,
    FlowpiError,
    NoInputError,
    NoPermissionError,
    TryAgainError,
    UsageError,
)
from flowpi.doctor import units as doctor_units
from flowpi.host import units

HELLO = {"hello": {"flowpi": "0.1.0", "protocol": 1, "device_id": "desk"}}
STATE: dict[str, Any] = {
    "state": "idle", "since": "2023-11-14T22:13:20.000Z", "utterance": None, "backend": "local", "faults": [],
    "spooled": 0,
}  # fmt: skip
STATS = {
    "started_at": "2023-11-14T12:00:00.000Z", "dictations": 3, "delivered": 2, "deferred": 0, "cancelled": 1,
    "dropped": 0, "failed": 0, "quarantined": 0, "gaps": 0, "lost_ms": 0, "press_to_first_packet_ms": 1.5,
    "release_to_commit_ms": None, "release_to_final_ms": 250.0, "final_to_published_ms": 0.25,
}  # fmt: skip
FINAL = {
    "id": "01KAJ6M2Y4T0Q3V6Z7R8N9P1AB", "part": 1, "text": "Two\nlines.", "language": None, "duration_s": 1.23,
}  # fmt: skip
BACKLOG = {"count": 3, "oldest_at": "2023-11-14T21:00:00.000Z", "in_memory": 1}


class Daemon:
    """Answers each line of a client with the next of `answers`; after the last it closes the connection."""

    def __init__(self, path: Path, *answers: Sequence[Any], hello: Any = HELLO) -> None:
        self.config = Config(publish=PublishSettings(socket=SocketSettings(path=str(path))))
        self.heard: list[Any] = []
        self._answers = answers
        self._hello = hello
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(path))
        self._socket.listen()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        end, _ = self._socket.accept()
        with contextlib.suppress(ConnectionError), end, end.makefile("rwb") as lines:

            def say(message: Any) -> None:
                lines.write(message if isinstance(message, bytes) else json.dumps(message).encode() + b"\n")
                lines.flush()

            if self._hello is not None:
                say(self._hello)
            for answer in self._answers:
                if not (line := lines.readline()):
                    break
                self.heard.append(json.loads(line))
                for message in answer:
                    say(message)

    def close(self) -> None:
        self._thread.join()
        self._socket.close()


Start = Callable[..., Daemon]


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Start]:
    started: list[Daemon] = []

    def start(*answers: Sequence[Any], hello: Any = HELLO) -> Daemon:
        started.append(Daemon(tmp_path / "flowpi.sock", *answers, hello=hello))
        return started[0]

    yield start
    for one in started:
        one.close()


def error(code: str, message: str = "why") -> dict[str, Any]:
    return {"response": 1, "ok": False, "error": {"code": code, "message": message}}


def message(topic: str, payload: Any) -> dict[str, Any]:
    return {"topic": topic, "payload": payload}


def test_record_prints_the_state(daemon: Start, capsys: pytest.CaptureFixture[str]) -> None:
    one = daemon([{"response": 1, "ok": True, "state": "recording"}])
    assert record(one.config, "start") == 0
    assert one.heard == [{"command": "record", "action": "start", "request": 1}]
    assert capsys.readouterr().out == "recording\n"


def ending(outcome: str, *texts: str, reason: str = "", state: str = "idle") -> dict[str, Any]:
    of = {"outcome": outcome, "texts": list(texts), "reason": reason}
    return {"response": 1, "ok": True, "state": state, "recorded": True, "ending": of}


def test_record_waits_for_the_text_of_all_parts(daemon: Start, capsys: pytest.CaptureFixture[str]) -> None:
    one = daemon([ending("text", "One\nand", "two\x1b.")])
    assert record(one.config, "stop", wait=True) == 0
    assert one.heard == [{"command": "record", "action": "stop", "wait": True, "request": 1}]
    assert capsys.readouterr().out == "One and\ntwo .\n"


@pytest.mark.parametrize(
    ("answer", "exit_code", "sentence"),
    [
        (ending("kept", reason="not reached"), 75, "no text now (not reached): it comes later by itself: "),
        (ending("cancelled"), 66, "the dictation was cancelled: record it again"),
        (ending("failed", reason="silence"), 65, "no text comes of the dictation (silence): see `flowpi spool list`"),
        ({"response": 1, "ok": True, "state": "idle"}, 66, "nothing was being recorded: begin with `flowpi record "),
        (error("shutting_down", "the daemon stops"), 69, "the daemon stops"),
        (b"", 69, "the daemon went away"),
    ],
)
def test_waiting_without_a_text_is_a_sentence(daemon: Start, answer: Any, exit_code: int, sentence: str) -> None:
    with pytest.raises(FlowpiError) as caught:
        record(daemon([answer]).config, "stop", wait=True)
    assert caught.value.exit_code == exit_code
    assert str(caught.value).startswith(sentence)


def test_a_toggle_that_begins_a_dictation_waits_for_nothing(daemon: Start, capsys: pytest.CaptureFixture[str]) -> None:
    one = daemon([{"response": 1, "ok": True, "state": "recording"}])
    assert record(one.config, "toggle", wait=True) == 0
    assert capsys.readouterr() == ("", "recording\n")


@pytest.mark.parametrize("action", ["start", "cancel"])
def test_what_ends_no_dictation_is_not_waited_for(action: str) -> None:
    with pytest.raises(UsageError, match=rf"^--wait waits for a text, and `record {action}` gives none: "):
        record(Config(), action, wait=True)


@pytest.mark.parametrize(
    ("code", "kind", "exit_code"),
    [
        ("microphone", NoInputError, 66),
        ("starting", TryAgainError, 75),
        ("recording", TryAgainError, 75),
        ("too_many_clients", TryAgainError, 75),
        ("not_permitted", NoPermissionError, 77),
        ("bad_filter", UsageError, 64),
        ("shutting_down", DaemonUnavailable, 69),
        ("anything else", FlowpiError, 70),
    ],
)
def test_an_error_of_the_daemon_is_the_end(daemon: Start, code: str, kind: type[FlowpiError], exit_code: int) -> None:
    with pytest.raises(kind, match=r"^why$") as caught:
        record(daemon([error(code)]).config, "start")
    assert caught.value.exit_code == exit_code


def test_one_that_is_turned_out_is_told_why(daemon: Start) -> None:
    with pytest.raises(NoPermissionError, match=r"^only members$"):
        record(daemon(hello=error("not_permitted", "only members")).config, "start")


@pytest.mark.parametrize(
    ("unit", "hint"), [(True, "start it with `sudo systemctl start flowpi`"), (False, "start it with `flowpi run`")]
)
def test_no_daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unit: bool, hint: str) -> None:
    monkeypatch.setattr(units, "FOLDERS", (str(tmp_path),))
    if unit:
        (tmp_path / "flowpi.service").touch()
    path = tmp_path / "flowpi.sock"
    config = Config(publish=PublishSettings(socket=SocketSettings(path=str(path))))
    with pytest.raises(DaemonUnavailable) as caught:
        record(config, "start")
    assert str(caught.value) == f"no daemon answers on '{path}' (no such file or directory): {hint}"
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(str(path))
    with pytest.raises(DaemonUnavailable) as caught:
        record(config, "start")
    assert str(caught.value) == f"no daemon answers on '{path}' (connection refused): {hint}"


def test_a_socket_of_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error of the kernel for a user outside the group, which root never sees."""

    def refuse(self: socket.socket, address: object) -> None:
        raise PermissionError(13, "Permission denied")

    class Refusing(socket.socket):
        connect = refuse

    monkeypatch.setattr(socket, "socket", Refusing)
    with pytest.raises(NoPermissionError, match=r"^the socket '/x' is not for this user: join its group: sudo adduser"):
        record(Config(publish=PublishSettings(socket=SocketSettings(path="/x"))), "start")


@pytest.mark.parametrize("hello", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"[]\n", b"{}\n", b"7\n", b"\xff\n"])
def test_something_else_answers_there(daemon: Start, hello: bytes) -> None:
    with pytest.raises(DaemonUnavailable, match=r"' is no flowpi: check publish\.socket\.path$"):
        record(daemon(hello=hello).config, "start")


@pytest.mark.parametrize("answers", [[], [[]], [[b'{"response": 1, "ok"']]])
def test_the_daemon_goes_away(daemon: Start, answers: list[Any]) -> None:
    with pytest.raises(DaemonUnavailable, match=r"^the daemon went away: see `journalctl -u flowpi`$"):
        record(daemon(*answers).config, "start")


def test_the_daemon_goes_away_without_a_hello(daemon: Start) -> None:
    with pytest.raises(DaemonUnavailable, match=r"^the daemon went away"):
        record(daemon(hello=b"").config, "start")


def test_the_daemon_does_not_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flowpi.client.ANSWER_TIMEOUT_S", 0.05)
    path = tmp_path / "flowpi.sock"
    config = Config(publish=PublishSettings(socket=SocketSettings(path=str(path))))
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        with pytest.raises(DaemonUnavailable, match=r"^no daemon answers on .* \(timed out\)"):
            record(config, "start")
        monkeypatch.setattr("flowpi.client.ANSWER_TIMEOUT_S", 1.5)  # enough for the greeting on a busy machine
        ends = []

        def greet() -> None:
            for _ in range(2):
                end, _ = listener.accept()
                ends.append(end)
            end.sendall(json.dumps(HELLO).encode() + b"\n")

        thread = threading.Thread(target=greet)
        thread.start()
        with pytest.raises(DaemonUnavailable, match=r"^the daemon does not answer: see `journalctl -u flowpi`$"):
            record(config, "start")
        thread.join()
        for end in ends:
            end.close()


class TestListen:
    def run(self, daemon: Start, capsys: pytest.CaptureFixture[str], *said: Any, **options: Any) -> tuple[Daemon, str]:
        one = daemon([{"subscribed": []}, *said], [])
        with pytest.raises(DaemonUnavailable):
            listen(one.config, **{"filters": [], "text_only": False, **options})
        return one, capsys.readouterr().out

    def test_messages_are_json_lines(self, daemon: Start, capsys: pytest.CaptureFixture[str]) -> None:
        said = [message("state", STATE), message("transcript/final", {"text": "Grüße\n\u2028\u00a0\x1b[31m"})]
        said.append(error("shutting_down", "the daemon stops"))
        one, out = self.run(daemon, capsys, *said)
        assert [json.loads(line) for line in out.splitlines()] == said[:-1]
        assert "\x1b" not in out
        assert "Grüße" in out
        assert one.heard == [{"subscribe": DEFAULT_FILTERS}]

    def test_filters(self, daemon: Start, capsys: pytest.CaptureFixture[str]) -> None:
        one, _ = self.run(daemon, capsys, error("shutting_down"), filters=["level", "state"])
        assert one.heard == [{"subscribe": ["level", "state"]}]

    def test_a_bad_filter(self, daemon: Start) -> None:
        with pytest.raises(UsageError, match=r"^why$"):
            listen(daemon([error("bad_filter")]).config, filters=["a#"], text_only=False)

    def test_texts_are_one_a_line_and_safe_for_a_terminal(
        self, daemon: Start, capsys: pytest.CaptureFixture[str]
    ) -> None:
        texts = ["Two\nlines.", "", "\x1b]0;title\x07 and \udcff", "Ende."]
        said = [message("transcript/final", {"text": text}) for text in texts]
        one, out = self.run(daemon, capsys, *said, error("shutting_down"), text_only=True)
        assert out.splitlines() == ["Two lines.", " ]0;title  and \N{REPLACEMENT CHARACTER}", "Ende."]
        assert one.heard == [{"subscribe": ["transcript/final"]}]

    def test_it_stops_after_so_many(self, daemon: Start, capsys: pytest.CaptureFixture[str]) -> None:
        one = daemon([{"subscribed": []}, *[message("state", STATE)] * 3])
        assert listen(one.config, filters=[], count=2) == 0
        assert len(capsys.readouterr().out.splitlines()) == 2

    def test_only_what_is_printed_counts(self, daemon: Start, capsys: pytest.CaptureFixture[str]) -> None:
        said = [message("transcript/final", {"text": text}) for text in ("", "One.", "Two.")]
        one = daemon([{"subscribed": []}, *said])
        assert listen(one.config, filters=[], text_only=True, count=1) == 0
        assert capsys.readouterr().out == "One.\n"

    def test_the_text_of_any_message(self, daemon: Start, capsys: pytest.CaptureFixture[str]) -> None:
        said = [message("availability", "online"), message("state", STATE), message("transcript/partial", FINAL)]
        one, out = self.run(daemon, capsys, *said, error("shutting_down"), filters=["#"], form="text")
        assert out == "Two lines.\n"
        assert one.heard == [{"subscribe": ["#"]}]

    def test_a_template(self, daemon: Start, capsys: pytest.CaptureFixture[str]) -> None:
        said = [message("state", STATE), message("availability", "online"), message("transcript/final", FINAL)]
        form = "{topic}: {text} ({duration_s:.1f} s){language} {{{part}}} {lost_ms}"
        _, out = self.run(daemon, capsys, *said, error("shutting_down"), form=form)
        assert out == "transcript/final: Two lines. (1.2 s) {1} 0\n"

    def test_a_template_that_a_message_does_not_fit(self, daemon: Start, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(UsageError, match=r"^--format '\{text:\{language\}\}' cannot be used \(Invalid format spec"):
            self.run(daemon, capsys, message("transcript/final", {**FINAL, "language": "en"}), form="{text:{language}}")

    @pytest.mark.parametrize(
        ("form", "message"),
        [
            ("jsn", "there is no format 'jsn': json, text, or a template such as '{id} {text}'"),
            ("{txt}", "--format names 'txt', which no message has: did you mean text?"),
            ("{text", "--format '{text' cannot be read (expected '}' before end of string): as in"),
            ("}", "--format '}' cannot be read (Single '}' encountered in format string): as in"),
            ("{{text}}", "--format '{{text}}' names no field: json, text, or a template"),
            ("{}", "--format names '', which no message has: known: topic, id, part, text"),
            ("{text.__class__}", "--format names 'text.__class__', which no message has: "),
            ("{faults[0]}", "--format names 'faults[0]', which no message has: did you mean faults?"),
            ("{text:.1f}", "--format '{text:.1f}' cannot be used (Unknown format code 'f' for object of type 'str')"),
            ("{text!r:>999999999999}", "--format '{text!r:>999999999999}' cannot be used (too long)"),
            ("{text!x}", "--format '{text!x}' cannot be used (Unknown conversion specifier x)"),
        ],
    )
    def test_a_format_is_checked_before_the_daemon_is_asked(self, form: str, message: str) -> None:
        config = Config(publish=PublishSettings(socket=SocketSettings(path="/absent")))
        with pytest.raises(UsageError) as caught:
            listen(config, filters=[], form=form)
        assert str(caught.value).startswith(message)

    def test_a_filter_beside_texts_only_is_refused(self) -> None:
        config = Config(publish=PublishSettings(socket=SocketSettings(path="/absent")))
        with pytest.raises(UsageError, match=r"^--text prints final texts and takes no FILTER: use --format text$"):
            listen(config, filters=["state"], text_only=True)


class TestStatus:
    def test_for_a_person(self, daemon: Start, capsys: pytest.CaptureFixture[str]) -> None:
        fault = {"code": "backend", "message": "no answer\x1b", "since": "2023-11-14T22:00:00.000Z"}
        state = STATE | {"faults": [fault], "spooled": 2}
        one = daemon([{"response": 1, "ok": True, "status": {"state": state, "stats": STATS, "backlog": BACKLOG}}])
        assert status(one.config, as_json=False, follow=False) == 0
        assert one.heard == [{"command": "status", "request": 1}]
        assert capsys.readouterr().out == (
            "flowpi          0.1.0 on desk, since 2023-11-14T12:00:00.000Z\n"
            "state           idle since 2023-11-14T22:13:20.000Z\n"
            "utterance       -\n"
            "backend         local\n"
            "kept for later  3, the oldest since 2023-11-14T21:00:00.000Z, 1 in memory only\n"
            "dictations      3, 2 delivered, 1 cancelled, 0 dropped, 0 failed\n"
            "sound lost      0 ms in 0 gaps\n"
            "last            press to first packet 1.5 ms, release to final 250 ms, final to published 0.25 ms\n"
            "fault           no answer  (since 2023-11-14T22:00:00.000Z)\n"
        )

    def test_the_model_of_the_recogniser_on_this_machine(
        self, daemon: Start, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        said = {"flowpi-asr.service": "moonshine base-en; 0.047 s of CPU"}
        monkeypatch.setattr(doctor_units, "status_text", said.__getitem__)
        now = {"state": STATE, "stats": STATS, "backlog": BACKLOG}
        one = daemon([{"response": 1, "ok": True, "status": now}])
        status(one.config, as_json=False, follow=False)
        assert "\nrecogniser      moonshine base-en; 0.047 s of CPU\n" in capsys.readouterr().out

    def test_for_a_program(self, daemon: Start, capsys: pytest.CaptureFixture[str]) -> None:
        now = {"state": STATE, "stats": STATS, "backlog": BACKLOG}
        status(daemon([{"response": 1, "ok": True, "status": now}]).config, as_json=True, follow=False)
        assert json.loads(capsys.readouterr().out) == now

    def test_followed(self, daemon: Start, capsys: pytest.CaptureFixture[str]) -> None:
        recording = STATE | {"state": "recording", "spooled": 1}
        said = [{"subscribed": []}, message("state", STATE), message("state", recording), error("shutting_down")]
        one = daemon(said, [])
        with pytest.raises(DaemonUnavailable):
            status(one.config, as_json=False, follow=True)
        assert one.heard == [{"subscribe": ["state", "stats"]}]
        assert capsys.readouterr().out == (
            "2023-11-14T22:13:20.000Z idle\n2023-11-14T22:13:20.000Z recording, 1 kept for later\n"
        )

    def test_followed_by_a_program(self, daemon: Start, capsys: pytest.CaptureFixture[str]) -> None:
        said = [{"subscribed": []}, message("stats", STATS), message("state", STATE), error("shutting_down")]
        with pytest.raises(DaemonUnavailable):
            status(daemon(said, []).config, as_json=True, follow=True)
        assert json.loads(capsys.readouterr().out) == {"state": STATE, "stats": STATS}


def test_the_command_line_ends_with_the_exit_code(daemon: Start, capsys: pytest.CaptureFixture[str]) -> None:
    one = daemon([error("microphone", "no sound from 'default'")])
    path = one.config.publish.socket.path
    assert main(["record", "start", "-o", f"publish.socket.path={path}"]) == 66
    assert capsys.readouterr().err == "flowpi: no sound from 'default'\n"


def test_a_command_waits_while_a_crowd_connects(tmp_path: Path) -> None:
    path = tmp_path / "flowpi.sock"
    with socket.socket(socket.AF_UNIX) as door, contextlib.ExitStack() as stack:
        door.bind(str(path))
        door.listen(0)
        crowd = 0
        with contextlib.suppress(BlockingIOError):
            while True:
                one = stack.enter_context(socket.socket(socket.AF_UNIX))
                one.setblocking(False)
                one.connect(str(path))
                crowd += 1
        config = Config(publish=PublishSettings(socket=SocketSettings(path=str(path))))
        greeted: list[Any] = []

        def connect() -> None:
            with DaemonConnection(config) as daemon:
                greeted.append(daemon.hello)

        client = threading.Thread(target=connect)
        client.start()
        client.join(0.5)  # one that is refused ends at once
        assert client.is_alive()
        for _ in range(crowd + 1):
            end, _ = door.accept()
            stack.enter_context(end).sendall(json.dumps(HELLO).encode() + b"\n")
        client.join()
    assert greeted == [HELLO["hello"]]
