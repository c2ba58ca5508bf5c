"""Everything that can go wrong, as one small tree.

    FlowpiError
     +-- UsageError            64  the command line asks for something that does not exist
     +-- DataError             65  a file that was given cannot be used (not a WAV, no audio in it)
     +-- NoInputError          66  there is nothing to read
     |    +-- MicrophoneError      no such device, busy, unplugged, wrong parameters
     +-- UnavailableError      69  a part that is needed does not answer
     |    +-- DaemonUnavailable    no daemon on the socket
     |    +-- EngineUnavailable    the recogniser or its model is not installed
     |    +-- PanelError           no GPIO chip, a pin in use
     |    +-- SinkError            a sink does not take texts now; it is tried again
     |    +-- BackendError         no text from this backend; what now: `core/failover.py`
     |         +-- CredentialError     there is no key to send
     |         +-- LinkError           not reached, not in time, or the connection broke
     |         |    +-- NotResolved        its name has no address
     |         |    +-- NotReached         no way there, or nobody listens
     |         |    +-- NoText             all of the audio is there, and no text comes
     |         |    +-- ClosedError        it closed before the text came
     |         +-- TlsError            no secure connection
     |         +-- HttpError           answered by an HTTP status
     |         +-- RefusedError        the backend said no in its dialect: key, quota, a request it does not accept
     |         +-- ProtocolError       it said something that is not the dialect
     |              +-- AnsweredInText     a MessagePack session was answered in JSON
     +-- CannotCreateError     73  a socket or file cannot be made; AlreadyRunning: another daemon has it
     |    +-- AlreadyRunning
     +-- SpoolError            74  the disk does not take or give the audio
     +-- NotWipedError         74  secrets that were taken over are still on the boot partition
     +-- TryAgainError         75  right, but not now
     +-- NoPermissionError     77
     +-- ConfigError           78  file, line and key of what is wrong

What a peer did wrong while flowpi was the server is not in this tree: see `flowpi.wire`.

Each error says what is wrong (`message`) and what the owner can do (`hint`); `exit_code` is the sysexits code that
a command ends with. Imported by every layer; imports nothing but `text.py`.
"""

from flowpi.core.text import printable


class FlowpiError(Exception):
    """The root. `str()` gives `message: hint`, or the message alone where nothing can be done."""

    exit_code = 70

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}: {self.hint}" if self.hint else self.message


class UsageError(FlowpiError):
    exit_code = 64


class DataError(FlowpiError):
    exit_code = 65


class NoInputError(FlowpiError):
    exit_code = 66


class MicrophoneError(NoInputError):
    """The microphone cannot be opened, or stopped delivering. Its handle is closed by then; only opening again helps.

    Attributes:
        device: the ALSA PCM name, or the path of a WAV.
        reason: what the driver said.
    """

    def __init__(self, device: str, reason: str, hint: str = "") -> None:
        super().__init__(f"no sound from {device!r} ({reason})", hint or "see `arecord -L` and set audio.device")
        self.device = device
        self.reason = reason


class UnavailableError(FlowpiError):
    exit_code = 69


class DaemonUnavailable(UnavailableError):
    """Nobody listens on the daemon's socket, or the daemon went away before it answered."""


class EngineUnavailable(UnavailableError):
    """The recogniser cannot be loaded here."""


class PanelError(UnavailableError):
    """The button or the LED cannot be used. Never fatal: dictation works without them."""


class SinkError(UnavailableError):
    """A sink cannot be opened, or did not accept a text. Never fatal: it is tried again."""


class BackendError(UnavailableError):
    """One attempt on one backend gave no text.

    Attributes:
        healed: true once what was wrong has been changed, by another key or another encoding: try again.
    """

    healed = False


class CredentialError(BackendError):
    """There is no key to send: not in its place, or it could not be fetched.

    Attributes:
        temporary: true if it could not be fetched now, and perhaps can later.
    """

    def __init__(self, message: str, hint: str = "", *, temporary: bool = False) -> None:
        super().__init__(message, hint)
        self.temporary = temporary


class LinkError(BackendError):
    """The backend was not reached, did not answer in time, or the connection broke."""


class NotResolved(LinkError):
    """Its name has no address, or no name server answers."""


class NotReached(LinkError):
    """There is no way to its address, or nobody listens there.

    Attributes:
        refused: true if its machine was reached and nobody listens there, so that it is not the network.
    """

    def __init__(self, message: str, hint: str = "", *, refused: bool = False) -> None:
        super().__init__(message, hint)
        self.refused = refused


class NoText(LinkError):
    """The backend has all of the audio, and sent no text in time."""


class ClosedError(LinkError):
    """The backend closed the connection before the text came.

    Attributes:
        code: RFC 6455; None where the connection broke.
        reason: the backend's own words; at most 200 characters, all printable.
    """

    def __init__(self, code: int | None, reason: str = "") -> None:
        self.code = code
        self.reason = printable(reason)
        how = f"code {code}" if code is not None else "no close frame"
        super().__init__(f"the server closed before the text came ({how}{', ' + self.reason if self.reason else ''})")


class TlsError(BackendError):
    """No secure connection. Nothing was sent, neither key nor audio.

    Attributes:
        clock: true if the certificate is not valid yet, or no more: perhaps this machine's clock is wrong.
    """

    def __init__(self, message: str, hint: str = "", *, clock: bool = False) -> None:
        super().__init__(message, hint)
        self.clock = clock


class HttpError(BackendError):
    """The backend, or something on the way to it, answered by an HTTP status.

    Attributes:
        status: of RFC 9110.
        retry_after_s: what a `Retry-After` header asks for, or None.
        detail: the answer's own words; at most 200 characters, all printable.
        code: the number that the answer has for it (gRPC's, from a gateway), or None.
    """

    def __init__(
        self,
        message: str,
        hint: str = "",
        *,
        status: int,
        retry_after_s: float | None = None,
        detail: str = "",
        code: int | None = None,
    ) -> None:
        super().__init__(message, hint)
        self.status = status
        self.retry_after_s = retry_after_s
        self.detail = detail
        self.code = code


class RefusedError(BackendError):
    """The backend understood and said no, in its dialect."""


class ProtocolError(BackendError):
    """The backend sent something that the dialect does not allow."""


class AnsweredInText(ProtocolError):
    """A session opened in MessagePack was first answered in JSON: open it again in JSON."""


class CannotCreateError(FlowpiError):
    exit_code = 73


class AlreadyRunning(CannotCreateError):
    """Another daemon holds the socket or the spool."""


class SpoolError(FlowpiError):
    exit_code = 74


class NotWipedError(FlowpiError):
    exit_code = 74


class TryAgainError(FlowpiError):
    exit_code = 75


class NoPermissionError(FlowpiError):
    exit_code = 77


class ConfigError(FlowpiError):
    """A configuration that cannot be used.

    Attributes:
        file: its path, or where the value came from (`--set`).
        line: 1-based, or None where there is none.
        key: dotted, or empty for the file as a whole.
    """

    exit_code = 78

    def __init__(self, file: str, line: int | None, key: str, problem: str, hint: str = "") -> None:
        where = file if line is None else f"{file}, line {line}"
        super().__init__(f"{where}: {key + ' ' if key else ''}{problem}", hint)
        self.file = file
        self.line = line
        self.key = key
