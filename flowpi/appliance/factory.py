"""Makes parts of the appliance from the configuration."""

from flowpi.appliance.inbox import Inbox
from flowpi.backends.chain import late_backends
from flowpi.config.schema import ButtonSettings, Config
from flowpi.core.gestures import Gestures
from flowpi.core.rules import Mode, Rules
from flowpi.delivery.delivery import Audience, Delivery
from flowpi.delivery.edits import Editor
from flowpi.host import paths
from flowpi.host.machine import device_id
from flowpi.panel.button import Line
from flowpi.publish.files import Transcripts
from flowpi.publish.history import History
from flowpi.publish.hub import Hub
from flowpi.publish.publisher import Publisher
from flowpi.publish.socket import LocalSocket
from flowpi.publish.socket_client import ClientCommand, Command
from flowpi.spool.spool import Spool

ENDING_S = 5.0
"""How much longer than `first_result_timeout_s` the appliance shows that it waits for a text."""


def rules(config: Config) -> Rules:
    return Rules(
        Mode(config.button.mode),
        config.dictation.max_utterance_s,
        config.dictation.first_result_timeout_s + ENDING_S,
        config.button.long_s,
        config.button.profiles,
        choose_s(config.button),
    )


def choose_s(button: ButtonSettings) -> float:
    """Return how long after a press its gesture may still choose another profile than the press began with."""
    if button.profiles.double is not None:
        return max(button.double_ms, button.hold_ms if button.mode == "auto" else 0) / 1000
    return button.hold_ms / 1000 if button.mode == "auto" and button.profiles.tap != button.profiles.hold else 0.0


def gestures(config: Config) -> dict[Line, Gestures]:
    """Return what recognises the gestures of each button."""
    button = config.button
    return {
        line: Gestures(
            hold_s=button.hold_ms / 1000,
            double_s=button.double_ms / 1000,
            long_s=button.long_s,
            debounce_s=button.debounce_ms / 1000,
        )
        for line in (None, *(name for name, one in config.profiles.items() if (one.pin, one.key) != (None, None)))
    }


def make_transcripts(config: Config) -> Transcripts:
    publish = config.publish
    return Transcripts(paths.transcripts_directory(config), publish.files.keep_days, publish.max_lag_days)


def make_delivery(
    config: Config, spool: Spool, transcripts: Transcripts, audience: Audience, editor: Editor
) -> Delivery:
    return Delivery(
        late_backends(config),
        spool,
        audience,
        editor=editor,
        keep_audio=config.spool.keep_audio,
        probe=transcripts.probe,
    )


def make_publisher(config: Config, hub: Hub, transcripts: Transcripts, inbox: Inbox, command: Command) -> Publisher:
    positions = paths.state_directory() / "sinks"
    return Publisher(
        config, hub, transcripts, positions, fault=inbox.raise_fault, clear=inbox.clear_fault, command=command
    )


def make_socket(config: Config, hub: Hub, command: ClientCommand, history: History) -> LocalSocket:
    return LocalSocket(
        hub,
        command,
        path=paths.daemon_socket(config),
        group=config.publish.socket.group,
        device_id=device_id(config),
        history=history,
    )
