"""How long a backend may take for each of its steps."""

from msgspec import Struct


class Patience(Struct, frozen=True):
    """Time limits in seconds.

    `connect_s`: name, TCP, TLS, upgrade; or a whole HTTP request; third-party clients wait 8 to 30 s. `auth_s`: from
    there to an open session. `send_s`: how long the other end may take none of the audio; a busy recogniser has been
    seen to stop reading for 20 s. `final_s`: from the end of the audio to the text, and again from each sign that the
    recogniser still works on it. `close_s`: for the goodbye.
    """

    connect_s: float = 10.0
    auth_s: float = 10.0
    send_s: float = 30.0
    final_s: float = 20.0
    close_s: float = 2.0
