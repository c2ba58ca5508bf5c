"""`flowpi demo`: the whole appliance on this machine, with no hardware and no account.

It starts a transcription server and a daemon of its own, with private sockets and directories that are deleted at the
end. The button is pressed by the program (or with the space bar), the LED is drawn on the terminal, and a client of the
local socket reads what any other program would read.
"""

import asyncio
import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from importlib import resources
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from flowpi.appliance.daemon import Daemon
from flowpi.audio.device import AT_ONCE_S
from flowpi.audio.device_probe import DeviceProbe
from flowpi.audio.sound import open_sound
from flowpi.audio.sources import make_source
from flowpi.config.backends.flow import FlowSettings
from flowpi.config.schema import AudioSettings, Config
from flowpi.core import topics
from flowpi.core.errors import EngineUnavailable, FlowpiError, MicrophoneError, NoInputError, UsageError
from flowpi.core.faults import MICROPHONE
from flowpi.dsp.format import BYTES_PER_S
from flowpi.host.paths import daemon_socket
from flowpi.panel.button import ScriptedButton
from flowpi.panel.led import RecordingLed
from flowpi.server.model_files import Models, final_model

SERVER_START_S = 300.0
"""How long the server may need to start. Loading the recogniser takes half a second on a PC, many times that from a
slow SD card, and minutes where the processor is emulated on a busy machine."""

WAV_PREROLL_MS = 30_000
"""The recording plays from the start of the daemon on. On a slow machine the button is pressed late, and the pre-roll
must still contain the beginning."""

NO_MICROPHONE = "name one with `flowpi demo --mic -o audio.device=plughw:CARD=NAME`; `arecord -L` lists them"

TAP_S = 0.05
METER = "▁▂▃▄▅▆▇█"
QUIET_DBFS, LOUD_DBFS = -60.0, -12.0


def demo(config: Config, *, wav: str | None, microphone: bool) -> int:
    """Run the demo, and return 0 after a text.

    Args:
        wav: the path of a recording to speak instead of the one that flowpi ships.
        microphone: speak into the microphone instead.

    Raises:
        NoInputError, DataError: there is no such recording, or no microphone.
        EngineUnavailable: the recogniser does not start.
        UsageError: there is no terminal to read keys from.
    """
    with tempfile.TemporaryDirectory(prefix="flowpi-demo-") as directory:
        if microphone:
            if not sys.stdin.isatty():
                raise UsageError("`demo --mic` needs a terminal, whose space bar is the button", "run it in one")
            return asyncio.run(_with_microphone(_private(config, Path(directory), config.audio)))
        path = wav or str(resources.files("flowpi") / "data" / "demo.wav")
        with open_sound(path) as sound:
            duration_s = sum(map(len, sound.blocks())) / BYTES_PER_S
        audio = AudioSettings(source="wav", path=path, preroll_ms=WAV_PREROLL_MS)
        return asyncio.run(_with_recording(_private(config, Path(directory), audio), path, duration_s))


def _private(config: Config, directory: Path, audio: AudioSettings) -> Config:
    """Return the configuration with every path in `directory`, and the demo's own server as the only backend."""
    backend = FlowSettings(f"ws+unix://{directory}/asr.sock")
    return replace(
        config,
        audio=audio,
        dictation=replace(config.dictation, backends=("demo",)),
        backends={"demo": backend},
        publish=replace(
            config.publish,
            socket=replace(config.publish.socket, path=str(directory / "flowpi.sock"), group=None),
            files=replace(config.publish.files, directory=str(directory / "transcripts")),
        ),
        spool=replace(config.spool, directory=str(directory / "spool")),
    )


async def _with_recording(config: Config, path: str, duration_s: float) -> int:
    """Dictate a recording, and print its text and how long each step took."""
    screen = Screen()
    screen.say(f"server  starting, on {_backend_path(config)}")
    async with _running(config, screen) as (_, button, finals):
        screen.say(f"model   {_model(config)}")
        screen.say(f"speech  {Path(path).name}, {duration_s:.1f} s of it; the button is held as long as it lasts")
        loop = asyncio.get_running_loop()
        button.press(loop.time())
        await asyncio.sleep(duration_s)
        released_at = loop.time()
        button.release(released_at)
        final, received_at, stats = await _final(finals)
    print(f"\ntext    {final['text'] or '(nothing was understood)'}\n")
    if final["late"]:
        print("The text came late, by another attempt, so its steps are not measured: the machine is busy, or slow.")
        return 0
    final_at = released_at + stats["release_to_final_ms"] / 1000
    rows = [
        ("press to first packet", stats["press_to_first_packet_ms"]),
        (f"release to commit (after {config.audio.postroll_ms} ms of post-roll)", stats["release_to_commit_ms"]),
        ("release to final", stats["release_to_final_ms"]),
        ("final to subscriber", (received_at - final_at) * 1000),
    ]
    width = max(len(name) for name, _ in rows)
    for name, milliseconds in rows:
        print(f"{name:<{width}}  {milliseconds:8.1f} ms")
    return 0


async def _with_microphone(config: Config) -> int:
    """Dictate from the microphone until the user ends it."""
    _try_microphone(config)  # first: the recogniser may take seconds to start
    screen = Screen()
    screen.say("server  starting")
    async with _running(config, screen) as (daemon, button, finals):
        screen.say(f"model   {_model(config)}")
        faults = [fault for fault in daemon.state.faults if fault.code == MICROPHONE]
        if faults:
            raise NoInputError(faults[0].message.partition(": ")[0], NO_MICROPHONE)
        screen.say("press the space bar, talk, and press it again; q ends")
        keys = asyncio.create_task(_keys(button))
        try:
            while not keys.done():
                text = asyncio.create_task(_final(finals))
                await asyncio.wait((keys, text), return_when=asyncio.FIRST_COMPLETED)
                if text.done():
                    screen.say(f"text    {text.result()[0]['text'] or '(nothing was understood)'}")
                text.cancel()
        finally:
            keys.cancel()
    return 0


def _try_microphone(config: Config) -> None:
    """Open the microphone and close it again. A stuck driver blocks for `AT_ONCE_S` at most.

    Raises:
        NoInputError: it cannot be opened; says how to name another one, for a demo without a configuration file.
    """
    source = make_source(config)
    try:
        if source.trial is not None:
            probe = DeviceProbe(source.trial)
            if not probe.wait(AT_ONCE_S):
                raise MicrophoneError(source.name, "it does not answer")
            if probe.error is not None:
                raise probe.error
        source.open(time.monotonic())
    except MicrophoneError as error:
        raise NoInputError(error.message, NO_MICROPHONE) from error
    source.close()


async def _keys(button: ScriptedButton) -> None:
    """Tap the button at each space until `q`. A tap, because a terminal does not report when a key is released."""
    loop = asyncio.get_running_loop()
    pressed: asyncio.Queue[str] = asyncio.Queue()
    with _single_keys(lambda: pressed.put_nowait(os.read(0, 1).decode(errors="replace"))):
        while (key := await pressed.get()) not in ("q", "\x04", ""):
            if key == " ":
                button.press(loop.time())
                await asyncio.sleep(TAP_S)
                button.release(loop.time())


@contextlib.contextmanager
def _single_keys(on_key: Callable[[], None]) -> Iterator[None]:
    """Call `on_key` whenever a key can be read, without waiting for Enter, for the length of a block."""
    import termios
    import tty

    before = termios.tcgetattr(0)
    loop = asyncio.get_running_loop()
    tty.setcbreak(0)
    loop.add_reader(0, on_key)
    try:
        yield
    finally:
        loop.remove_reader(0)
        termios.tcsetattr(0, termios.TCSADRAIN, before)


@contextlib.asynccontextmanager
async def _running(
    config: Config, screen: "Screen"
) -> AsyncIterator[tuple[Daemon, ScriptedButton, "asyncio.Queue[tuple[dict[str, Any], float]]"]]:
    """Run a server and a daemon for the length of a block.

    What arrives on the local socket is drawn; finals, failures and stats are also queued, with the monotonic second of
    their arrival.
    """
    async with _server(config):
        button = ScriptedButton()
        daemon = Daemon(config, button=button, led=RecordingLed(screen.light))
        running = asyncio.create_task(daemon.run(), name="daemon")
        try:
            await _first(running, daemon.settled.wait())
            reader, writer = await asyncio.open_unix_connection(str(daemon_socket(config)))
            writer.write(b'{"subscribe": ["#"]}\n')
            queue: asyncio.Queue[tuple[dict[str, Any], float]] = asyncio.Queue()
            watching = asyncio.create_task(_watch(reader, screen, queue), name="watch")
            yield daemon, button, queue
            watching.cancel()
            writer.close()
        finally:
            daemon.stop()
            await running
            screen.close()  # before anything else is printed, such as why it failed


@contextlib.asynccontextmanager
async def _server(config: Config) -> AsyncIterator[None]:
    """Run `flowpi serve` as a process of its own, as the service is. It is ready when it notifies its service manager.

    Raises:
        EngineUnavailable: it ended, or is not ready within `SERVER_START_S`.
    """
    directory = Path(_backend_path(config)).parent
    notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    notify.bind(str(directory / "notify"))
    settings = {name: getattr(config.server, name) for name in ("engine", "model", "interim_model")}
    settings["languages"] = f"[{', '.join(config.server.languages)}]"
    options = [word for name, value in settings.items() if value for word in ("-o", f"server.{name}={value}")]
    command = [sys.executable, "-m", "flowpi", "serve", *options]
    with notify, tempfile.TemporaryFile("w+") as log:
        process = await asyncio.create_subprocess_exec(
            *command,
            "--listen",
            f"unix:{_backend_path(config)}",
            env={**os.environ, "NOTIFY_SOCKET": str(directory / "notify"), "FLOWPI_CONFIG": "/dev/null"},
            stdin=subprocess.DEVNULL,
            stderr=log,
        )
        exited = asyncio.create_task(process.wait())
        try:
            async with asyncio.timeout(SERVER_START_S):
                await _first(exited, _ready(notify))
            if process.returncode is not None:
                log.seek(0)
                reason = log.read().strip().splitlines() or ["it said nothing"]
                raise EngineUnavailable(f"the server ended at once: {reason[-1].removeprefix('flowpi: ')}")
            yield
        except TimeoutError:
            raise EngineUnavailable("the server does not get ready") from None
        finally:
            if process.returncode is None:
                process.terminate()
            await exited


async def _ready(notify: socket.socket) -> None:
    """Wait for the READY of a service."""
    loop = asyncio.get_running_loop()
    while b"READY=1" not in await loop.sock_recv(notify, 4096):
        pass


async def _first(task: "asyncio.Task[Any]", waiting: Any) -> None:
    """Wait until `waiting` is done or the task ends; raise the exception of the task."""
    other = asyncio.ensure_future(waiting)
    await asyncio.wait((task, other), return_when=asyncio.FIRST_COMPLETED)
    other.cancel()
    if task.done() and not task.cancelled() and task.exception():
        task.result()


async def _watch(
    reader: asyncio.StreamReader, screen: "Screen", queue: "asyncio.Queue[tuple[dict[str, Any], float]]"
) -> None:
    """Draw what arrives on the local socket, and queue what others wait for."""
    while line := await reader.readline():
        received_at = time.monotonic()
        message = json.loads(line)
        payload = message.get("payload")
        match message.get("topic"):
            case topics.STATE:
                screen.state(payload["state"])
            case topics.LEVEL:
                screen.level(payload["dbfs"])
            case topics.PARTIAL:
                screen.partial(payload["text"])
            case topics.FINAL | topics.STATS | topics.FAILED:
                await queue.put((message, received_at))


async def _final(
    queue: "asyncio.Queue[tuple[dict[str, Any], float]]",
) -> tuple[dict[str, Any], float, dict[str, Any]]:
    """Wait for the next text; return its payload, when it arrived, and the stats that follow it.

    Raises:
        FlowpiError: there is no text.
    """
    final: tuple[dict[str, Any], float] | None = None
    while True:
        message, received_at = await queue.get()
        if message["topic"] == topics.FAILED:
            raise FlowpiError(f"no text: {message['payload']['reason']}")
        if message["topic"] == topics.FINAL:
            final = message["payload"], received_at
        elif final is not None:
            return *final, message["payload"]


def _model(config: Config) -> str:
    """Return the name of the model that speaks, once the server has loaded it."""
    server = config.server
    return "echo" if server.engine == "echo" else final_model(Models(server.model, server.interim_model)).name


def _backend_path(config: Config) -> str:
    """Return the path of the server's socket."""
    return config.backends["demo"].endpoint.removeprefix("ws+unix://")


class Screen:
    """A status line on a terminal: LED, level, state and the text so far. Elsewhere each change is a line."""

    def __init__(self) -> None:
        self._live = sys.stdout.isatty()
        self._lamp = "●" if os.environ.get("NO_COLOR") else "\x1b[31m●\x1b[0m"
        self._lit = False
        self._dbfs = QUIET_DBFS
        self._state = ""
        self._text = ""

    def light(self, brightness: float) -> None:
        """Show the LED lit or dark."""
        changed, self._lit = self._lit != (brightness > 0), brightness > 0
        self._draw()
        if not self._live and changed:
            print(f"led     {'on' if self._lit else 'off'}", flush=True)

    def level(self, dbfs: float) -> None:
        """Show the level of the microphone. Without a terminal it is shown with the next partial text."""
        self._dbfs = dbfs
        self._draw()

    def state(self, state: str) -> None:
        """Show the state of the appliance."""
        self._state = state
        self._draw()
        if not self._live:
            print(f"state   {state}", flush=True)

    def partial(self, text: str) -> None:
        """Show the text so far."""
        self._text = text
        self._draw()
        if not self._live:
            print(f"partial {self._meter()} {text}", flush=True)

    def say(self, line: str) -> None:
        """Print a line that stays, above the status line."""
        self._clear()
        self._text = ""
        print(line, flush=True)

    def close(self) -> None:
        """Erase the status line and draw it no more."""
        self._clear()
        self._live = False

    def _clear(self) -> None:
        if self._live:
            print("\r\x1b[K", end="", flush=True)

    def _meter(self) -> str:
        share = (self._dbfs - QUIET_DBFS) / (LOUD_DBFS - QUIET_DBFS)
        return METER[max(0, min(len(METER) - 1, int(share * len(METER))))]

    def _draw(self) -> None:
        if not self._live:
            return
        led = self._lamp if self._lit else "○"
        room = max(2, shutil.get_terminal_size().columns - 18)
        text = self._text if len(self._text) <= room else "…" + self._text[-room + 1 :]
        print(f"\r\x1b[K{led} {self._meter()} {self._state:<10} {text}", end="", flush=True)
