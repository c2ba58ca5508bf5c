"""The daemon, put together: which parts there are, in which order they start, and in which order they stop.

    spool, transcripts -> conductor -> positions of the sinks -> socket -> microphone -> READY -> LED, button -> slow
    imports -> sinks, deliveries

Everything runs on one event loop. SIGTERM and SIGINT stop it within 5 s with all audio kept; SIGHUP reads the
configuration again, and a bad one changes nothing.
"""

import asyncio
import contextlib
import gc
import logging
import os
import resource
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

from flowpi.appliance import factory
from flowpi.appliance.announcer import Announcer
from flowpi.appliance.conductor import Conductor
from flowpi.appliance.endings import Endings
from flowpi.appliance.inbox import Inbox
from flowpi.appliance.microphone import AudioComponent, CaptureAudience
from flowpi.appliance.requests import RequestHandler
from flowpi.appliance.sink_requests import SinkRequests
from flowpi.appliance.spool_requests import SpoolRequests
from flowpi.appliance.statistics import Statistics
from flowpi.appliance.storage import Storage
from flowpi.appliance.text_requests import TextRequests
from flowpi.appliance.utterances import Utterances
from flowpi.audio.cue_mask import CueMask
from flowpi.audio.cues import CuePlayer
from flowpi.backends import chain
from flowpi.config.reload import applied
from flowpi.config.schema import Config
from flowpi.core import faults, topics
from flowpi.core.appliance import State
from flowpi.core.errors import CannotCreateError, ConfigError, FlowpiError
from flowpi.core.ulid import UlidFactory
from flowpi.editing.editors import Editors
from flowpi.host import boot_config_status, paths
from flowpi.host.logfields import MessageId, fields
from flowpi.host.reporter import Reporter
from flowpi.host.systemd import Notifier
from flowpi.panel.button import Button
from flowpi.panel.led import Led
from flowpi.panel.panel import Panel
from flowpi.publish.history import History
from flowpi.publish.hub import Hub
from flowpi.publish.messages import Problem, Request

log = logging.getLogger(__name__)

STOP_S = 4.0
"""The longest stop. What takes longer is cut off; the audio is on the disk long before."""

FILES = 4096
"""The limit of open file descriptors to ask for: a shell allows 1024, which clients of the socket alone can use up."""

THREADS = 32
"""The most worker threads. A name server that does not answer holds one for half a minute, and the disk needs some."""

NOT_RELOADED = "the configuration is not reloaded, the old one stays"


class Component(Protocol):
    """A part of the daemon that a reload changes while it runs."""

    async def apply(self, config: Config) -> None:
        """Use what this part reads of a new configuration; nothing happens if that is the same as before.

        The configuration has been checked, so it cannot be refused here. Nothing is being recorded.
        """


class Daemon:
    """The whole appliance. Made on the event loop; `run` returns when it has stopped.

    Attributes:
        ready: set when the daemon accepts commands.
        settled: set when button and LED are open too, or are known to be missing.
    """

    def __init__(
        self,
        config: Config,
        *,
        reload: Callable[[], Config] | None = None,
        notifier: Notifier | None = None,
        button: Button | None = None,
        led: Led | None = None,
    ) -> None:
        """`reload` reads the configuration again, on a thread, and raises FlowpiError if it is bad. `button` and `led`
        are used instead of the configured ones."""
        self._config = config
        self._read_config = reload
        self._notifier = notifier or Notifier({})
        self._stopping, self._reloading = asyncio.Event(), asyncio.Event()
        self.ready, self.settled = asyncio.Event(), asyncio.Event()
        self.hub = hub = Hub()
        self._inbox = inbox = Inbox()
        utterances, endings, ids, mask = Utterances(), Endings(), UlidFactory(), CueMask()
        transcripts = factory.make_transcripts(config)
        audio = AudioComponent(config, CaptureAudience(inbox, utterances, hub), mask)
        self._capture = audio.capture
        self._statistics = Statistics(hub, self._capture)
        announcer = Announcer(inbox, hub, transcripts, utterances, self._statistics, endings)
        self._storage = Storage(config, transcripts, ids, inbox, announcer)
        self._editors = Editors(config)
        self._delivery = factory.make_delivery(config, self._storage.spool, transcripts, announcer, self._editors)
        self._cues = CuePlayer(config, mask)
        self._panel = Panel(config, inbox, button=button, led=led)
        self._conductor = Conductor(
            factory.rules(config),
            factory.gestures(config),
            inbox=inbox,
            hub=hub,
            microphone=self._capture,
            delivery=self._delivery,
            utterances=utterances,
            announcer=announcer,
            ids=ids,
            led_player=self._panel.led_player,
            cues=self._cues,
            is_pressed=self._panel.is_pressed,
            profiles=tuple(config.profiles),
            on_state=Reporter(self._notifier).show,
        )
        spool_requests = SpoolRequests(self._storage.spool, transcripts, self._delivery, utterances, announcer)
        self._publisher = factory.make_publisher(config, hub, transcripts, inbox, self._carry_out)
        history = History(transcripts)
        sinks, texts = SinkRequests(self._publisher), TextRequests(history, transcripts)
        self._requests = RequestHandler(
            self._conductor, self._delivery, utterances, self._statistics, spool_requests, endings, sinks, texts
        )
        self._socket = factory.make_socket(config, hub, self._requests.handle, history)
        self._components: tuple[Component, ...] = (
            self._conductor,
            self._storage,
            self._editors,
            self._delivery,  # after the storage: it tries the disk again, which may have room now
            audio,
            self._cues,
            self._panel,
            self._publisher,
        )

    async def _carry_out(self, request: Request) -> dict[str, Any] | Problem:
        """Carry out a command that comes through a sink, as those of the socket."""
        return await self._requests.handle(request)

    @property
    def state(self) -> State:
        return self._conductor.state

    def reload(self) -> None:
        """Read the configuration again, and use it if it is good."""
        self._reloading.set()

    def stop(self) -> None:
        """Make `run` return. What is being said is kept."""
        self._stopping.set()

    async def run(self) -> None:
        """Run until `stop`. Raises FlowpiError if the daemon cannot start."""
        _allow_files()
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(THREADS, "worker"))
        self._storage.open()
        try:
            await self._open()
            try:
                await self._serve()
            finally:
                self._notifier.stopping()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(STOP_S):
                        await asyncio.gather(self._close(), self._panel.played())
        finally:
            self._storage.close()
            self._panel.close()  # the LED goes dark when everything is on the disk

    async def _open(self) -> None:
        """Open what a press by a command needs, and note where texts begin. Nothing slow may stand before READY."""
        self._conductor.open()
        self._statistics.publish()
        self._check_boot_file()
        _make_folder_of_socket(self._config)
        await self._publisher.open()  # before anybody can dictate: no sink may miss a text because it is made late
        await self._socket.open()
        self.hub.publish(topics.AVAILABILITY, "online")
        self._capture.start()
        self.hub.watch(topics.LEVEL, self._capture.meter)
        self._conductor.started()
        self.ready.set()
        self._notifier.ready()
        gc.freeze()  # what exists now exists until the stop: the collector need not visit it
        gc.enable()
        log.info("ready: %s", self._socket.path, extra=fields(MessageId.STARTED))

    async def _serve(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            helpers = [
                tasks.create_task(self._settle_in(), name="settle in"),
                tasks.create_task(self._reload_on_demand(), name="reload"),
                tasks.create_task(self._feed_watchdog(), name="watchdog"),
                tasks.create_task(self._storage.expire(), name="expire"),
            ]
            await self._stopping.wait()
            log.info("stopping", extra=fields(MessageId.STOPPED))
            self._conductor.stop()
            for helper in helpers:
                helper.cancel()

    async def _close(self) -> None:
        """Begin nothing new, end what is being said, then wait for others.

        Whatever a driver raises, the rest is closed too: what was said must reach the disk.
        """
        for close in (self._panel.close_button, self._cues.close, self._capture.close):
            try:
                close()
            except Exception:
                log.exception("at the stop")
        self.hub.publish(topics.AVAILABILITY, "offline")
        await self._socket.close()
        await asyncio.gather(self._publisher.close(), self._delivery.close())
        await self._editors.close()

    async def _settle_in(self) -> None:
        """Open what must not stand before READY. The button comes first: until then the LED shows the start."""
        await self._panel.open(self._conductor.edge)
        self._conductor.settled()
        await asyncio.to_thread(chain.preload, self._config)
        await self._editors.open()
        self._publisher.start()
        await self._storage.resume(self._delivery)
        self.settled.set()
        gc.freeze()  # what exists now exists until the stop: the collector need not visit it again
        await self._mention_absent_backends()
        await self._storage.keep_opening(self._delivery)

    async def _mention_absent_backends(self) -> None:
        """Say once that nothing gives a text yet, before somebody dictates and wonders."""
        from flowpi.backends.presence import absent_backends
        from flowpi.host.units import how_to_start_recogniser

        for name in await absent_backends(self._config):
            log.info("backend %r does not answer yet: %s", name, how_to_start_recogniser(), extra=fields(backend=name))

    async def _reload_on_demand(self) -> None:
        await self.settled.wait()  # the panel must not be opened twice at once
        while True:
            await self._reloading.wait()
            self._reloading.clear()
            self._notifier.reloading()
            try:
                await self._apply()
            except FlowpiError as error:
                log.error("%s: %s", NOT_RELOADED, error, extra=fields(MessageId.NOT_RELOADED))
            except Exception:
                log.exception(NOT_RELOADED, extra=fields(MessageId.NOT_RELOADED))
            self._notifier.ready()

    async def _apply(self) -> None:
        """Read the configuration again and pass it to every component. Raises FlowpiError if it is bad."""
        if self._read_config is None:
            return
        new = await asyncio.to_thread(self._read_config)
        config, waiting = applied(new, self._config)
        for key in waiting:
            log.warning("a change of %s counts from the next start", key)
        await self._conductor.quiet()  # not in the middle of a word
        for component in self._components:
            await component.apply(config)
        self._check_boot_file()
        self._config = config
        log.info("configuration reloaded", extra=fields(MessageId.RELOADED))

    def _check_boot_file(self) -> None:
        if (wrong := boot_config_status.read()) is None:
            self._inbox.clear_fault(faults.BOOT_FILE)
        else:
            self._inbox.raise_fault(faults.BOOT_FILE, wrong)

    async def _feed_watchdog(self) -> None:
        """Feed the watchdog while the microphone makes progress. A loop that turns proves nothing."""
        if (interval_s := self._notifier.watchdog_interval_s) is None:
            return
        loop = asyncio.get_running_loop()
        while True:
            if self._capture.is_alive(loop.time()):
                self._notifier.watchdog()
            else:
                log.error("the microphone makes no progress: the watchdog is not fed")
            await asyncio.sleep(interval_s)


def run(
    config: Config, notifier: Notifier, reload: Callable[[], Config] | None = None, *, led: Led | None = None
) -> int:
    """Run the daemon until a signal ends it, as `flowpi run` does. Return the exit code. `led` as for `Daemon`."""

    async def main() -> None:
        daemon = Daemon(config, reload=reload, notifier=notifier, led=led)
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, daemon.stop)
        loop.add_signal_handler(signal.SIGINT, daemon.stop)
        loop.add_signal_handler(signal.SIGHUP, daemon.reload)
        await daemon.run()
        # All is closed and on the disk. A thread that waits a minute for a name server must not hold up the process.
        logging.shutdown()
        os._exit(0)

    asyncio.run(main())
    return 0


def _allow_files() -> None:
    """Raise the limit of open file descriptors to `FILES`, as far as the system permits."""
    now, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 <= now < FILES:
        resource.setrlimit(resource.RLIMIT_NOFILE, (FILES if most < 0 else min(FILES, most), most))


def _make_folder_of_socket(config: Config) -> None:
    """Raises CannotCreateError, or ConfigError if the user chose the folder."""
    folder = paths.daemon_socket(config).parent
    try:
        folder.mkdir(mode=0o750, parents=True, exist_ok=True)
    except OSError as error:
        problem = f"{str(folder)!r} cannot be made ({error.strerror})"
        if config.publish.socket.path is None:
            raise CannotCreateError(problem, "set publish.socket.path") from error
        hint = "choose a folder that is there, such as /run/flowpi"
        raise ConfigError("configuration", None, "publish.socket.path", problem, hint) from error
