"""MQTT in a WebSocket: binary frames, whose borders mean nothing. Source: MQTT 5.0, section 6."""

from websockets.client import ClientProtocol
from websockets.exceptions import InvalidHandshake, InvalidStatus
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

from flowpi.core.errors import SinkError
from flowpi.publish.mqtt.endpoint import Endpoint
from flowpi.publish.mqtt.link import Link
from flowpi.publish.mqtt.packets import MAX_PACKET_BYTES

BYTES_A_TURN = 512
"""The most that is decoded in one turn of the loop: up to 256 frames, of which each may want an answer."""


class WebSocketLink(Link):
    """A connection that carries MQTT in a WebSocket. It is open once the server has agreed to speak MQTT."""

    def __init__(self, endpoint: Endpoint) -> None:
        super().__init__()
        self._endpoint = endpoint
        self._protocol = ClientProtocol(
            parse_uri(f"{endpoint.scheme}://{endpoint}{endpoint.path}"),
            subprotocols=[Subprotocol("mqtt")],
            max_size=MAX_PACKET_BYTES,
        )

    def _begin(self) -> None:
        self._protocol.send_request(self._protocol.connect())
        self._flush()

    def _framed(self, data: bytes) -> bytes:
        self._protocol.send_binary(data)
        return b"".join(self._protocol.data_to_send())

    def _decoded(self) -> bytes:
        self._protocol.receive_data(bytes(self._undecoded[:BYTES_A_TURN]))
        del self._undecoded[:BYTES_A_TURN]
        decoded = bytearray()
        for event in self._protocol.events_received():
            match event:
                case Response():
                    self._answered()
                case Frame(opcode=Opcode.BINARY | Opcode.CONT):
                    decoded += event.data
        self._flush()
        if self._protocol.handshake_exc is not None:
            self._answered()
        if self._protocol.close_expected():
            self._close_transport()  # what came before is still read
        return bytes(decoded)

    def _answered(self) -> None:
        """Open the link, or refuse what the server answered."""
        if self.opened.done():
            return
        refused = self._protocol.handshake_exc
        if refused is None:
            self.opened.set_result(None)
            return
        match refused:
            case InvalidStatus():
                why = f"HTTP status {refused.response.status_code}"
            case InvalidHandshake():
                why = "another subprotocol"
            case _:
                why = "no HTTP"
        hint = "check the path in publish.mqtt.url"
        self.opened.set_exception(SinkError(f"{self._endpoint} is no WebSocket for MQTT ({why})", hint))

    def _flush(self) -> None:
        assert self._transport is not None
        for data in self._protocol.data_to_send():
            if data:
                self._transport.write(data)
            else:  # the end of what is sent
                self._close_transport()
