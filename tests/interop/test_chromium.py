"""A web page dictates in a real Chromium: its WebSocket, its rules for origins and sub-protocols."""

import contextlib
import http.server
import json
import os
import queue
import signal
import subprocess
import threading
import urllib.parse
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest

from tests.interop.conftest import DEMO_TEXT, DEMO_WAV, WORD_ERRORS_MAX
from tests.speech import word_error_rate
from tests.waiting import PATIENCE_S

PAGE = Path(__file__).with_name("page.html")

STRANGER = "stranger.example"

OPTIONS = [
    *("--headless", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"),
    "--no-sandbox",  # it does not start as root, and the page is ours
    f"--host-resolver-rules=MAP {STRANGER} 127.0.0.1",
    "--disable-features=LocalNetworkAccessChecks",  # not every browser keeps strangers from this machine
]


class Site(http.server.ThreadingHTTPServer):
    """The web site that has the page, on a loopback port; its reports are in `reports`."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.reports: queue.Queue[dict[str, Any]] = queue.Queue()

    def url(self, host: str, **query: str) -> str:
        return f"http://{host}:{self.server_port}/?{urllib.parse.urlencode(query)}"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Site

    def do_GET(self) -> None:
        match self.path.partition("?")[0]:
            case "/":
                self._answer("text/html", PAGE.read_bytes())
            case "/demo.wav":
                self._answer("audio/wav", DEMO_WAV.read_bytes())
            case _:
                self.send_error(HTTPStatus.NOT_FOUND)

    def do_POST(self) -> None:
        report = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self._answer("text/plain", b"")
        self.server.reports.put(report)

    def _answer(self, kind: str, body: bytes) -> None:
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass  # the base class writes each request to stderr


@pytest.fixture
def site() -> Iterator[Site]:
    with Site() as site:
        thread = threading.Thread(target=site.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield site
        site.shutdown()
        thread.join()


@contextlib.contextmanager
def browser(url: str, profile: Path) -> Iterator[None]:
    """Chromium shows the page."""
    log = profile.with_suffix(".log")
    with log.open("wb") as output:
        command = ["chromium", *OPTIONS, f"--user-data-dir={profile}", url]
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
    try:
        yield
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # it has a dozen children
        process.wait()


def dictate(site: Site, dialect: str, base: str, profile: Path, host: str = "127.0.0.1") -> dict[str, Any]:
    """What the page of that host reports."""
    with browser(site.url(host, dialect=dialect, base=base), profile):
        try:
            return site.reports.get(timeout=PATIENCE_S)
        except queue.Empty:
            pytest.fail(f"the page does not report:\n{profile.with_suffix('.log').read_text()}")


def test_flow(server: str, site: Site, tmp_path: Path) -> None:
    report = dictate(site, "flow", server, tmp_path / "profile")
    assert "error" not in report, report
    (text,) = report["texts"]
    assert word_error_rate(DEMO_TEXT, text) <= WORD_ERRORS_MAX
    assert report["messages"][0] == {"status": "auth"}
    assert report["messages"][-1]["final"] is True
    assert report["closes"] == [1000]
    assert report["protocol"] == ""


def test_suki(server: str, site: Site, tmp_path: Path) -> None:
    """Its REST calls are cross-origin, so preflights come first; token and id are sub-protocols."""
    report = dictate(site, "suki", server, tmp_path / "profile")
    assert "error" not in report, report
    assert len(report["texts"]) == 2
    for text in report["texts"]:
        assert word_error_rate(DEMO_TEXT, text) <= WORD_ERRORS_MAX
    assert report["messages"][-1] == {"transcript": {"transcript": "EOF"}}
    assert report["closes"] == [1000, 1000]
    assert report["protocol"] == "SukiAmbientAuth"


def test_the_page_of_a_stranger_gets_nothing(server: str, site: Site, tmp_path: Path) -> None:
    """A server without keys, and a page from elsewhere in a browser on the same machine."""
    report = dictate(site, "flow", server, tmp_path / "profile", STRANGER)
    assert report["error"] == "Error: not opened: 1006"
    assert report["messages"] == []
