"""The address of a broker, and what failed on the way to it, in words that the user understands."""

import socket
import ssl
from urllib.parse import urlsplit

from msgspec import Struct

from flowpi.core.errors import SinkError
from flowpi.core.safe_text import printable

PORTS = {"mqtt": 1883, "mqtts": 8883, "ws": 80, "wss": 443}


class Endpoint(Struct, frozen=True):
    """Where a broker is.

    Attributes:
        scheme: mqtt, mqtts, ws, wss or unix.
        host: a name or an address; for unix the path of the socket.
        path: what a WebSocket asks for.
    """

    scheme: str
    host: str
    port: int = 0
    path: str = "/"

    @classmethod
    def parse(cls, url: str) -> "Endpoint":
        """Return the endpoint of a URL that `MqttSettings` has accepted."""
        parts = urlsplit(url)
        if parts.scheme == "unix":
            return cls("unix", url.removeprefix("unix://"))
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return cls(parts.scheme, parts.hostname or "", parts.port or PORTS[parts.scheme], path)

    @property
    def secure(self) -> bool:
        return self.scheme in ("mqtts", "wss")

    @property
    def websocket(self) -> bool:
        return self.scheme in ("ws", "wss")

    def __str__(self) -> str:
        if self.scheme == "unix":
            return self.host
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def not_reached(self, error: Exception) -> SinkError:
        """Return the error for what `open_link` met."""
        match error:
            case ssl.SSLCertVerificationError():
                why = printable(error.verify_message)
                return SinkError(f"the certificate of {self} is not valid ({why})", _certificate_hint(error))
            case ssl.SSLError():
                why = printable(error.reason or str(error))
                return SinkError(f"no TLS with {self} ({why})", "check publish.mqtt: url, certificate and key")
            case socket.gaierror():
                return SinkError(f"the name {self.host!r} has no address", "check publish.mqtt.url and the network")
            case ConnectionRefusedError():
                return SinkError(f"nobody listens on {self}", "start the broker, or check publish.mqtt.url")
            case FileNotFoundError() | PermissionError():
                why = error.strerror or ""
                return SinkError(f"{self} cannot be used ({why})", "start the broker, or check publish.mqtt.url")
            case TimeoutError():
                return SinkError(f"{self} does not answer", "check publish.mqtt.url and the network")
            case ConnectionError() if self.secure:
                return SinkError(f"{self} ended the connection before it was secure", "does it speak TLS at all?")
        return SinkError(f"{self} is not reached ({printable(str(error))})", "check publish.mqtt.url and the network")

    def silent(self) -> SinkError:
        """Return the error for a broker that does not answer the first packet."""
        return SinkError(f"{self} accepts the connection and says nothing", "is it an MQTT broker?")

    def closed_unanswered(self) -> SinkError:
        """Return the error for one that closes the connection instead."""
        hint = "is it an MQTT 5 broker?" if self.secure else "is it an MQTT 5 broker, and does it want mqtts://?"
        return SinkError(f"{self} closes the connection without an answer", hint)


def _certificate_hint(error: ssl.SSLCertVerificationError) -> str:
    if error.verify_code in (9, 10):  # X509_V_ERR_CERT_NOT_YET_VALID, X509_V_ERR_CERT_HAS_EXPIRED
        return "renew it, or check the clock of this machine"
    if error.verify_code in (62, 64):  # X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH
        return "write the name in it into publish.mqtt.url"
    return "set publish.mqtt.ca_file to its authority"
