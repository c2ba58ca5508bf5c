"""The daemon, put together: which parts there are, in which order they start, and in which they stop.

    socket, spool, transcripts -> conductor, delivery, capture -> READY -> what is slow to import -> button, LED

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
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

from msgspec.structs import replace

from flowpi.appliance import factory
from flowpi.appliance.conductor import Conductor
from flowpi.appliance.requests import RequestHandler
from flowpi.appliance.storage import Storage
from flowpi.audio.capture import Capture
from flowpi.audio.cue_mask import CueMask
from flowpi.backends import transport
from flowpi.backends.chain import make_backends
from flowpi.config.schema import Config
from flowpi.core import faults, topics
from flowpi.core.appliance import State
from flowpi.core.errors import CannotCreateError, ConfigError, FlowpiError, PanelError
from flowpi.core.events import FaultRaised
from flowpi.delivery.delivery import Delivery
from flowpi.host import boot_config_status, paths
from flowpi.host.logfields import MessageId, fields
from flowpi.host.reporter import Reporter
from flowpi.host.systemd import Notifier
from flowpi.panel.button import Button, NoButton
from flowpi.panel.drivers import GPIO_KINDS, make_button, make_led
from flowpi.panel.led import Led, LedPlayer, NoLed
from flowpi.panel.night import brightness
from flowpi.publish.hub import Hub
from flowpi.publish.publisher import Publisher
from flowpi.publish.socket import LocalSocket

log = logging.getLogger(__name__)

STOP_S = 4.0
"""A stop that takes longer is cut off; the audio is on the disk long before."""

FILES = 4096
"""So many may be open at once, if the system lets."""

THREADS = 32
"""At most; each is made when all others are busy."""

NOT_RELOADED = "the configuration is not reloaded, the old one stays"


class Daemon:
    """`run` lives as long as the daemon. `button` and `led`: drivers instead of the configured ones."""

    def __init__(
        self,
        config: Config,
        *,
        reload: Callable[[], Config] | None = None,
        notifier: Notifier | None = None,
        button: Button | None = None,
        led: Led | None = None,
    ) -> None:
        """`reload` reads the configuration again, and raises FlowpiError if it is bad; on a thread."""
        self._config = config
        self._read_config = reload
        self._notifier = notifier or Notifier({})
        self._reporter = Reporter(self._notifier)
        self._given_button = button
        self._given_led = led
        self._button: Button = NoButton()
        self._stopping = asyncio.Event()
        self._reloading = asyncio.Event()
        self.ready = asyncio.Event()
        """Set when the daemon takes commands."""
        self.settled = asyncio.Event()
        """Set when button and LED are there too, or are known to be missing."""
        self.hub = Hub(self._interest_changed)

    @property
    def state(self) -> State:
        return self._conductor.state

    def reload(self) -> None:
        """Read the configuration again, and use it if it is good."""
        self._reloading.set()

    def stop(self) -> None:
        """Make `run` end: what is being said is kept."""
        self._stopping.set()

    async def run(self) -> None:
        """Raises FlowpiError if it cannot start; returns after `stop`."""
        config = self._config
        loop = asyncio.get_running_loop()
        # A shell allows 1024, of which the clients of the socket alone may take all.
        now, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        if 0 <= now < FILES:
            resource.setrlimit(resource.RLIMIT_NOFILE, (FILES if most < 0 else min(FILES, most), most))
        # A name server that does not answer holds a thread for half a minute: others must be left for the disk.
        loop.set_default_executor(ThreadPoolExecutor(THREADS, "worker"))
        device_id = config.device_id or socket.gethostname()
        self._led_player = LedPlayer(lambda error: self._conductor.panel_failed(faults.LED, error))
        self._storage = storage = Storage(config)
        storage.open()
        try:
            self._conductor = Conductor(
                factory.rules(config),
                factory.gestures(config),
                hub=self.hub,
                led_player=self._led_player,
                ids=storage.ids,
                transcripts=storage.transcripts,
                on_state=self._report,
            )
            local = LocalSocket(
                self.hub,
                RequestHandler(self._conductor, storage.spool, storage.transcripts).carry_out,
                path=_socket_path(config),
                group=config.publish.socket.group,
                device_id=device_id,
            )
            self._mask = CueMask()
            self._delivery = self._make_delivery(config)
            self._capture = self._make_capture(config)
            self._conductor.open(self._capture, self._delivery)
            self._conductor.cues = factory.make_cues(config, self._mask)
            self._publisher = self._make_publisher(config)
            storage.conductor = self._conductor
            storage.raise_faults()
            self._check_boot_file()
            await local.open()
            self.hub.publish(topics.AVAILABILITY, "online")
            self._capture.start()
            self._conductor.started()
            self.ready.set()
            self._notifier.ready()
            log.info("ready: %s", local.path, extra=fields(MessageId.STARTED))
            try:
                async with asyncio.TaskGroup() as tasks:
                    helpers = [
                        tasks.create_task(self._settle_in(config), name="settle in"),
                        tasks.create_task(self._reload_on_demand(), name="reload"),
                        tasks.create_task(self._feed_watchdog(loop), name="watchdog"),
                        tasks.create_task(storage.expire(), name="expire"),
                    ]
                    await self._stopping.wait()
                    log.info("stopping", extra=fields(MessageId.STOPPED))
                    self._conductor.stop()
                    for helper in helpers:
                        helper.cancel()
            finally:
                self._notifier.stopping()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(STOP_S):
                        await asyncio.gather(self._close(local), self._led_player.played())
        finally:
            storage.close()
            self._led_player.close()  # dark when all is on the disk

    async def _close(self, local: LocalSocket) -> None:
        """First nothing new, then the end of what is being said, then what waits for others.

        Whatever a driver throws then, the rest is closed too: what was said must get to the disk.
        """
        for close in (self._button.close, self._conductor.cues.close, self._capture.close):
            try:
                close()
            except Exception:
                log.exception("at the stop")
        self.hub.publish(topics.AVAILABILITY, "offline")
        await local.close()
        await asyncio.gather(self._publisher.close(), self._delivery.close())

    async def _settle_in(self, config: Config) -> None:
        """What must not stand between start and READY. The button comes first: until then the LED says "starting"."""
        await self._open_panel(config)
        self._conductor.settled()
        await asyncio.to_thread(transport.preload)
        await self._publisher.open()
        await self._storage.resume()
        self.settled.set()
        gc.freeze()  # what lives as long as the daemon is never looked through again
        await self._storage.keep_opening()

    async def _open_panel(self, config: Config) -> None:
        """Button and LED. Whatever is wrong with them is said once, and the rest works by commands."""
        led, button = self._given_led, self._given_button
        gpio_led = led is None and config.led.kind in GPIO_KINDS
        gpio_button = button is None and config.button.kind in GPIO_KINDS
        if (gpio_led or gpio_button) and not await self._has_gpio():
            led = NoLed() if gpio_led else led
            button = NoButton() if gpio_button else button
        if button is None and config.button.kind == "evdev":
            from flowpi.panel import evdev

            await asyncio.to_thread(evdev.preload)
        try:
            led = led or make_led(config.led)
            led.open()
            self._led_player.replace(led, lambda: brightness(config.led, datetime.now().astimezone().time()))
        except PanelError as error:
            self._conductor.panel_failed(faults.LED, error)
        try:
            button = button or make_button(config.button, self._button_changed)
            button.open(self._conductor.edge)
            self._button = button
            self._conductor.look = button.is_pressed
        except PanelError as error:
            self._conductor.panel_failed(faults.BUTTON, error)

    def _check_boot_file(self) -> None:
        if (wrong := boot_config_status.read()) is None:
            self._conductor.outcomes.clear(faults.BOOT_FILE)
        else:
            self._conductor.handle(FaultRaised(faults.BOOT_FILE, wrong))

    def _button_changed(self, error: PanelError | None) -> None:
        if error is None:
            self._conductor.panel_works(faults.BUTTON)
        else:
            self._conductor.panel_failed(faults.BUTTON, error)

    async def _has_gpio(self) -> bool:
        from flowpi.panel import gpio

        if not gpio.has_chip():
            log.info("no GPIO chip here, so no button and no LED: `flowpi record` does their work")
            return False
        await asyncio.to_thread(gpio.preload)
        return True

    def _make_delivery(self, config: Config) -> Delivery:
        backends = make_backends(config)
        return Delivery(
            backends,
            self._storage.spool,
            self._conductor.outcomes,
            keep_audio=config.spool.keep_audio,
            probe=self._storage.transcripts.probe,
        )

    def _make_publisher(self, config: Config) -> Publisher:
        return Publisher(
            config,
            self.hub,
            self._storage.transcripts,
            paths.state_directory() / "sinks",
            fault=self._sink_failed,
            clear=self._conductor.outcomes.clear,
        )

    def _sink_failed(self, code: str, message: str) -> None:
        self._conductor.handle(FaultRaised(code, message))

    def _make_capture(self, config: Config) -> Capture:
        audio = config.audio
        return Capture(
            factory.make_source(config),
            read_s=audio.read_ms / 1000,
            idle_read_s=audio.idle_read_ms / 1000,
            preroll_s=audio.preroll_ms / 1000,
            postroll_s=audio.postroll_ms / 1000,
            on_fault=self._conductor.microphone_lost,
            on_recovery=self._conductor.microphone_back,
            on_silence=self._conductor.microphone_silent,
            on_level=self._conductor.level,
            mask=self._mask,
        )

    async def _reload_on_demand(self) -> None:
        await self.settled.wait()  # two that open the panel would take it from one another
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
        """Use a new configuration for microphone, panel, dictation and backends. Raises what is wrong with it."""
        if self._read_config is None:
            return
        config = await asyncio.to_thread(self._read_config)
        # Raised while the spool is full, a limit that counted from the next start would come too late.
        as_before = replace(config, spool=replace(config.spool, max_mb=self._config.spool.max_mb))
        for name in ("device_id", "publish", "spool"):
            if getattr(as_before, name) != getattr(self._config, name):
                log.warning("a change of %s counts from the next start", name)
        backends = make_backends(config)
        await self._conductor.quiet()  # not in the middle of a word
        self._conductor.replace(factory.rules(config), factory.gestures(config))
        self._storage.apply(config)
        self._delivery.use(backends)
        if config.audio != self._config.audio:
            self._capture.close()
            self._capture = self._make_capture(config)
            self._conductor.open(self._capture, self._delivery)
            self._conductor.microphone_back()  # what was wrong with the old one; the new one speaks for itself
            self._conductor.microphone_silent(False)
            if self._conductor.muted:
                self._capture.close()
            else:
                self._capture.start()
            self._interest_changed()
        if config.cues != self._config.cues:
            self._conductor.cues.close()
            self._conductor.cues = factory.make_cues(config, self._mask)
        if config.button != self._config.button or config.led != self._config.led:
            self._button.close()
            self._led_player.replace(NoLed())
            self._conductor.panel_works(faults.BUTTON)
            self._conductor.panel_works(faults.LED)
            await self._open_panel(config)
        self._check_boot_file()
        self._config = config
        log.info("configuration reloaded", extra=fields(MessageId.RELOADED))

    async def _feed_watchdog(self, loop: asyncio.AbstractEventLoop) -> None:
        """Only while the pipeline makes progress: that the loop turns is not enough."""
        if (interval_s := self._notifier.watchdog_interval_s) is None:
            return
        while True:
            if self._capture.is_alive(loop.time()):
                self._notifier.watchdog()
            else:
                log.error("the microphone makes no progress: the watchdog is not fed")
            await asyncio.sleep(interval_s)

    def _interest_changed(self) -> None:
        if self.ready.is_set():
            self._capture.metering = self.hub.wants(topics.LEVEL)

    def _report(self, state: State, spooled: int) -> None:
        self._reporter.show(state, spooled)


def run(
    config: Config, notifier: Notifier, reload: Callable[[], Config] | None = None, *, led: Led | None = None
) -> int:
    """`flowpi run`: the daemon until a signal ends it. Returns the exit code. `led`: see `Daemon`."""

    async def main() -> None:
        daemon = Daemon(config, reload=reload, notifier=notifier, led=led)
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, daemon.stop)
        loop.add_signal_handler(signal.SIGINT, daemon.stop)
        loop.add_signal_handler(signal.SIGHUP, daemon.reload)
        await daemon.run()
        # All is closed and on the disk. A thread that hangs in a name server must not keep the process for its minute.
        logging.shutdown()
        os._exit(0)

    asyncio.run(main())
    return 0


def _socket_path(config: Config) -> Path:
    """Its folder is made. Raises CannotCreateError; ConfigError for one that the owner chose."""
    path = paths.daemon_socket(config)
    try:
        path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
    except OSError as error:
        problem = f"{str(path.parent)!r} cannot be made ({error.strerror})"
        if config.publish.socket.path is None:
            raise CannotCreateError(problem, "set publish.socket.path") from error
        hint = "choose a folder that is there, such as /run/flowpi"
        raise ConfigError("configuration", None, "publish.socket.path", problem, hint) from error
    return path
