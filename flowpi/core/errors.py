"""The errors of flowpi, as one small tree.

    FlowpiError
     +-- UsageError            64  the command line asks for something that does not exist
     +-- DataError             65  a file that the user named cannot be used (no sound file, no audio in it)
     +-- NoInputError          66  there is nothing to read
     |    +-- MicrophoneError      no such device, busy, unplugged, wrong parameters
     +-- UnavailableError      69  a part that is needed does not answer
     |    +-- DaemonUnavailable    no daemon on the socket
     |    +-- EngineUnavailable    the recogniser or its model is not installed
     |    +-- PanelError           no GPIO chip, a pin in use
     |    +-- KeyboardError        nothing can be typed now
     |    +-- SinkError            a sink does not accept texts now; it is tried again
     |    |    +-- SinkRefusedError     it refuses this text for good; the text is parked
     |    +-- BackendError         no text from this backend; `core/failover.py` decides what follows
     |         +-- CredentialError     there is no key to send
     |         +-- LinkError           not reached, too late, or the connection broke
     |         |    +-- NotResolved        its name has no address
     |         |    +-- NotReached         no route to it, or nobody listens
     |         |    +-- NoText             it has all of the audio, and sends no text
     |         |    +-- ClosedError        it closed the connection before the text
     |         +-- TlsError            no secure connection
     |         +-- HttpError           it answered with an HTTP status
     |         +-- RefusedError        it refused in its own protocol: key, quota, a request it does not accept
     |         +-- ProtocolError       it sent something that is not its protocol
     |              +-- AnsweredInText     a MessagePack session was answered in JSON
     +-- CannotCreateError     73  a socket or file cannot be made
     |    +-- AlreadyRunning           another daemon uses it
     +-- SpoolError            74  the disk cannot write or read audio or text
     +-- NotWipedError         74  secrets that were applied are still on the boot partition
     +-- OutputError           74  stdout cannot be written: the disk behind it is full
     +-- TryAgainError         75  the request is right, but not possible now
     +-- NoPermissionError     77  this user may not do that
     +-- ConfigError           78  file, line and key of what is wrong
     +-- LayoutError           78  text cannot be typed in this keyboard layout
     +-- HandedOverError           an error that another process met and handed over, with its exit code

What a peer did wrong while flowpi was the server is not in this tree: see `flowpi.wire`.

Each error says what is wrong (`message`) and what the user can do (`hint`); `exit_code` is the sysexits code that a
command ends with. Every layer imports this file; it imports only `text.py`.
"""

from flowpi.core.safe_text import printable


class FlowpiError(Exception):
    """The root of the tree. `str()` returns `message: hint`, or the message alone if nothing can be done."""

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
    """The microphone cannot be opened, or has stopped delivering. It is closed then, and has to be opened again.

    Attributes:
        device: the ALSA PCM name, or the path of a WAV.
        reason: what the driver reported.
    """

    def __init__(self, device: str, reason: str, hint: str = "") -> None:
        super().__init__(f"no sound from {device!r} ({reason})", hint or "see `arecord -L` and set audio.device")
        self.device = device
        self.reason = reason


class UnavailableError(FlowpiError):
    exit_code = 69


class DaemonUnavailable(UnavailableError):
    """No daemon listens on the socket, or it closed the connection before it answered."""


class EngineUnavailable(UnavailableError):
    """The recogniser cannot be loaded on this machine."""


class PanelError(UnavailableError):
    """The button or the LED cannot be used. Never fatal: dictation works without them."""


class KeyboardError(UnavailableError):
    """Nothing can be typed now, because of the device, the computer or the rights.

    Attributes:
        reason: which of them, as in the fault `keyboard`.
    """

    def __init__(self, reason: str, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.reason = reason


class SinkError(UnavailableError):
    """A sink cannot be opened, or did not accept a text. Never fatal: it is tried again.

    Attributes:
        retry_after_s: how long to wait before that. None: waits that grow; infinity: until an operator asks for it.
    """

    def __init__(self, message: str, hint: str = "", *, retry_after_s: float | None = None) -> None:
        super().__init__(message, hint)
        self.retry_after_s = retry_after_s


class SinkRefusedError(SinkError):
    """A sink refused one text for good, such as one that is too long. It is parked, and the next text follows."""


class SinkAbsentError(SinkError):
    """A sink that is a process of its own is not there, so it can be asked for nothing."""


class BackendError(UnavailableError):
    """One attempt with one backend returned no text.

    Attributes:
        healed: whether the cause has been removed since, by another key or another encoding: try again at once.
        before_audio: whether the attempt failed before any audio was sent, so that the utterance cannot be the cause.
    """

    healed = False
    before_audio = False


class CredentialError(BackendError):
    """There is no key to send: none is configured, or none could be fetched.

    Attributes:
        temporary: whether it may be possible to fetch one later.
    """

    def __init__(self, message: str, hint: str = "", *, temporary: bool = False) -> None:
        super().__init__(message, hint)
        self.temporary = temporary


class LinkError(BackendError):
    """The backend was not reached, did not answer in time, or the connection broke."""


class NotResolved(LinkError):
    """The name of the backend has no address, or no name server answers."""


class NotReached(LinkError):
    """There is no route to the backend's address, or nobody listens there.

    Attributes:
        refused: whether its machine was reached and nobody listens there, so that the network is not the cause.
    """

    def __init__(self, message: str, hint: str = "", *, refused: bool = False) -> None:
        super().__init__(message, hint)
        self.refused = refused


class NoText(LinkError):
    """The backend received all of the audio, and sent no text in time."""


class LinkLost(LinkError):
    """An open connection went dead, and was ended on this side: the backend may not even have noticed.

    Attributes:
        symptom: how that showed.
    """

    def __init__(self, symptom: str) -> None:
        self.symptom = symptom
        super().__init__(f"the connection went dead before the text came ({symptom})", "check the network")


class ClosedError(LinkError):
    """The backend closed the connection before the text came.

    Attributes:
        code: the close code of RFC 6455; None if the connection broke.
        reason: the reason that the backend sent; at most 200 characters, all printable.
    """

    def __init__(self, code: int | None, reason: str = "", hint: str = "") -> None:
        self.code = code
        self.reason = printable(reason)
        how = f"code {code}" if code is not None else "no close frame"
        what = f"the server closed before the text came ({how}{', ' + self.reason if self.reason else ''})"
        super().__init__(what, hint)


class TlsError(BackendError):
    """No secure connection could be made. Nothing was sent, neither key nor audio.

    Attributes:
        clock: whether the certificate is not valid yet or has expired: this machine's clock may be wrong.
    """

    def __init__(self, message: str, hint: str = "", *, clock: bool = False) -> None:
        super().__init__(message, hint)
        self.clock = clock


class HttpError(BackendError):
    """The backend, or something on the way to it, answered with an HTTP status.

    Attributes:
        status: the status code of RFC 9110.
        retry_after_s: the seconds that a `Retry-After` header asks for, or None.
        detail: the explanation in the answer; at most 200 characters, all printable.
        code: the error number in the answer (gRPC's, from a gateway), or None.
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
    """The backend understood the request and refused it, by a message of its protocol."""


class ProtocolError(BackendError):
    """The backend sent something that its protocol does not allow."""


class AnsweredInText(ProtocolError):
    """A session that was opened in MessagePack was answered in JSON: open it again in JSON."""


class CannotCreateError(FlowpiError):
    exit_code = 73


class AlreadyRunning(CannotCreateError):
    """Another daemon is using the socket or the spool."""


class SpoolError(FlowpiError):
    exit_code = 74


class NotWipedError(FlowpiError):
    exit_code = 74


class OutputError(FlowpiError):
    exit_code = 74


class TryAgainError(FlowpiError):
    exit_code = 75


class NoPermissionError(FlowpiError):
    exit_code = 77


class ConfigError(FlowpiError):
    """A configuration that cannot be used.

    Attributes:
        file: its path, or the origin of the value (`--set`).
        line: the number of the line, 1 for the first, or None if there is none.
        key: the key with dots, or empty for the file as a whole.
        problem: what is wrong, without the place.
        others: what else is wrong, as far as it can be told before this is mended.
    """

    exit_code = 78

    def __init__(self, file: str, line: int | None, key: str, problem: str, hint: str = "") -> None:
        where = file if line is None else f"{file}, line {line}"
        super().__init__(f"{where}: {key + ' ' if key else ''}{problem}", hint)
        self.file = file
        self.line = line
        self.key = key
        self.problem = problem
        self.others: list[ConfigError] = []


class LayoutError(FlowpiError):
    """Text cannot be typed in a keyboard layout: it is not known, or has no Latin letters.

    Attributes:
        layout, variant: as the computer names them; the variant may be empty.
    """

    exit_code = 78

    def __init__(self, layout: str, variant: str, problem: str, hint: str) -> None:
        super().__init__(f"the keyboard layout {problem}", hint)
        self.layout = layout
        self.variant = variant


class HandedOverError(FlowpiError):
    def __init__(self, message: str, hint: str, exit_code: int) -> None:
        super().__init__(message, hint)
        self.exit_code = exit_code
