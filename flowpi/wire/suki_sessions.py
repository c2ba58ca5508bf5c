"""The sessions of a server that speaks Suki's dialect: which partner made each one, and its state.

Theory of operation (K0, K1, K4, K5):

    create -> READY --open--> RUNNING --drop--> IDLE --open--> RUNNING ...        end, from each of them -> COMPLETED

A session accepts one stream at a time. The service's own pages do not say how long it stays RUNNING after a stream
broke; here it is IDLE at once. There is no clock: `now` is seconds that never go back.

The number of sessions is limited. A new one beyond the limit replaces an ended one, or else the oldest unused one of
the partner with the most sessions: so no partner can keep others out, and what a partner creates without using it
costs only that partner.
"""

import enum
from collections import Counter

from msgspec import Struct

from flowpi.wire.suki_messages import AudioConfig, CreateSession, GrpcCode, Refusal

MAX_SESSIONS = 1000
"""The limit for all partners together: some 300 KB."""
FORGET_S = 3600.0
"""How long a session without a stream is remembered: as long as a token lasts (K8)."""


class SukiSessionState(enum.Enum):
    """K0, K1."""

    READY = "READY"
    IDLE = "IDLE"
    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"


class Partner(Struct, frozen=True):
    """The maker of a session; for other partners the session does not exist."""

    partner_id: str
    provider_id: str | None = None


class _Session(Struct):
    owner: Partner
    state: SukiSessionState
    used_at: float


class SukiSessions:
    """All sessions of a server."""

    def __init__(self, *, max_sessions: int = MAX_SESSIONS, forget_s: float = FORGET_S) -> None:
        self._max_sessions = max_sessions
        self._forget_s = forget_s
        self._sessions: dict[str, _Session] = {}
        """The sessions by id; the one used longest ago comes first."""

    def __len__(self) -> int:
        return len(self._sessions)

    def state(self, session_id: str) -> SukiSessionState | None:
        """Return the state of a session, or None if there is no such session."""
        session = self._sessions.get(session_id)
        return session.state if session else None

    def create(self, owner: Partner, request: CreateSession, fresh_id: str, now: float) -> str:
        """Make a session and return its id: the client's, or else `fresh_id`, a UUID that was never used.

        Raises:
            Refusal: its audio is not what K4 allows (3), the id exists (6), or a stream runs in every session (8).
        """
        audio, only = request.audio_config or AudioConfig(), AudioConfig()
        for name in AudioConfig.__struct_fields__:
            if getattr(audio, name) != getattr(only, name):
                raise Refusal(GrpcCode.INVALID_ARGUMENT, f"audio_config.{name}: must be {getattr(only, name)}")
        self._forget(now)
        session_id = request.transcription_session_id or fresh_id
        if session_id in self._sessions:
            raise Refusal(GrpcCode.ALREADY_EXISTS, "transcription_session_id: there is such a session")
        if len(self._sessions) >= self._max_sessions:
            self._sessions.pop(self._replaceable(owner), None)
        if len(self._sessions) >= self._max_sessions:
            raise Refusal(GrpcCode.RESOURCE_EXHAUSTED, f"all {self._max_sessions} sessions are in use: end some")
        self._sessions[session_id] = _Session(owner, SukiSessionState.READY, now)
        return session_id

    def open(self, owner: Partner, session_id: str, now: float) -> None:
        """Begin a stream in a session. `drop` must follow, however the stream ends.

        Raises:
            Refusal: there is no such session (5), or it is not READY or IDLE (9).
        """
        self._forget(now)
        session = self._find(owner, session_id)
        if session.state not in (SukiSessionState.READY, SukiSessionState.IDLE):
            raise Refusal(
                GrpcCode.FAILED_PRECONDITION,  # K0 and K1 have this text
                f"transcript session is not accepting new speech sessions (state {session.state.value})",
            )
        self._move(session_id, SukiSessionState.RUNNING, now)

    def drop(self, session_id: str, now: float) -> None:
        """End the stream of a session, with a text or without. Harmless if there is no such stream."""
        if self.state(session_id) is SukiSessionState.RUNNING:
            self._move(session_id, SukiSessionState.IDLE, now)

    def end(self, owner: Partner, session_id: str, now: float) -> None:
        """End a session: it accepts no more streams; a stream that runs goes on to its text.

        Raises:
            Refusal: there is no such session (5), or it has ended before (9).
        """
        self._forget(now)
        if self._find(owner, session_id).state is SukiSessionState.COMPLETED:
            raise Refusal(GrpcCode.FAILED_PRECONDITION, "transcript session has ended before")
        self._move(session_id, SukiSessionState.COMPLETED, now)

    def _replaceable(self, owner: Partner) -> str:
        """Return the id of the session that a new one of `owner` replaces, or "" if a stream runs in every session."""
        # By partner, not by provider: a partner chooses the provider ids of its logins.
        counts = Counter(session.owner.partner_id for session in self._sessions.values())
        counts[owner.partner_id] += 1  # the new one: of partners with equally many, the one that asks gives way
        ranks = {SukiSessionState.COMPLETED: 0, SukiSessionState.READY: 1, SukiSessionState.IDLE: 2}

        def order(item: tuple[str, _Session]) -> tuple[int, int, int]:
            _, session = item
            ended = session.state is SukiSessionState.COMPLETED
            return not ended, 0 if ended else -counts[session.owner.partner_id], ranks[session.state]

        idle = (item for item in self._sessions.items() if item[1].state is not SukiSessionState.RUNNING)
        session_id, _ = min(idle, key=order, default=("", None))  # of equals the first, which was used longest ago
        return session_id

    def _find(self, owner: Partner, session_id: str) -> _Session:
        session = self._sessions.get(session_id)
        if session is None or session.owner != owner:
            raise Refusal(GrpcCode.NOT_FOUND, "there is no such transcription session")
        return session

    def _move(self, session_id: str, state: SukiSessionState, now: float) -> None:
        session = self._sessions.pop(session_id)
        self._sessions[session_id] = _Session(session.owner, state, now)

    def _forget(self, now: float) -> None:
        """Forget the sessions that no stream has used for long."""
        for session_id, session in list(self._sessions.items()):
            if now - session.used_at < self._forget_s:
                break
            if session.state is SukiSessionState.RUNNING:
                self._move(session_id, SukiSessionState.RUNNING, now)
            else:
                del self._sessions[session_id]
