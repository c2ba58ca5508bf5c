"""The sessions of a server: its rules one by one, and against a model of them."""

import uuid
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule

from flowpi.wire.suki_messages import AudioConfig, CreateSession, GrpcCode, Refusal
from flowpi.wire.suki_sessions import Partner, SukiSessions, SukiSessionState

CLINIC, OTHER = Partner("clinic"), Partner("clinic", "another provider")
NOT_ACCEPTING = "transcript session is not accepting new speech sessions"


def refusal(call: Any, *arguments: Any) -> tuple[GrpcCode, int, str]:
    with pytest.raises(Refusal) as caught:
        call(*arguments)
    return GrpcCode(caught.value.status.code), caught.value.http_status, str(caught.value)


def one(sessions: SukiSessions, owner: Partner = CLINIC) -> str:
    return sessions.create(owner, CreateSession(), "one", 0.0)


def test_a_session_takes_one_utterance_after_the_other() -> None:
    sessions = SukiSessions()
    session = one(sessions)
    assert sessions.state(session) is SukiSessionState.READY
    for at in range(3):
        sessions.open(CLINIC, session, at)
        assert sessions.state(session) is SukiSessionState.RUNNING
        sessions.drop(session, at)
        assert sessions.state(session) is SukiSessionState.IDLE
    sessions.end(CLINIC, session, 3.0)
    assert sessions.state(session) is SukiSessionState.COMPLETED


def test_one_stream_at_a_time() -> None:
    sessions = SukiSessions()
    sessions.open(CLINIC, one(sessions), 0.0)
    assert refusal(sessions.open, CLINIC, "one", 0.0) == (
        GrpcCode.FAILED_PRECONDITION,
        400,
        f"{NOT_ACCEPTING} (state RUNNING)",
    )


def test_after_its_end_it_takes_none() -> None:
    sessions = SukiSessions()
    sessions.end(CLINIC, one(sessions), 0.0)
    assert refusal(sessions.open, CLINIC, "one", 0.0)[2] == f"{NOT_ACCEPTING} (state COMPLETED)"
    assert refusal(sessions.end, CLINIC, "one", 0.0) == (
        GrpcCode.FAILED_PRECONDITION,
        400,
        "transcript session has ended before",
    )


def test_a_stream_goes_on_after_the_end_of_its_session() -> None:
    sessions = SukiSessions()
    sessions.open(CLINIC, one(sessions), 0.0)
    sessions.end(CLINIC, "one", 0.0)
    sessions.drop("one", 1.0)
    assert sessions.state("one") is SukiSessionState.COMPLETED


@pytest.mark.parametrize("owner", [CLINIC, OTHER, Partner("another partner")])
def test_to_others_it_does_not_exist(owner: Partner) -> None:
    sessions = SukiSessions()
    one(sessions, Partner("its own"))
    unknown = GrpcCode.NOT_FOUND, 404, "there is no such transcription session"
    for call in (sessions.open, sessions.end):
        assert refusal(call, owner, "one", 0.0) == unknown
        assert refusal(call, owner, "two", 0.0) == unknown
    assert sessions.state("one") is SukiSessionState.READY


def test_the_client_may_choose_the_id() -> None:
    sessions = SukiSessions()
    chosen = CreateSession("0B7D6B1E-6a51-4f0e-9c0e-3d6f3f6a2b11")
    assert sessions.create(CLINIC, chosen, "fresh", 0.0) == chosen.transcription_session_id
    for owner in (CLINIC, OTHER):
        assert refusal(sessions.create, owner, chosen, "fresh", 0.0) == (
            GrpcCode.ALREADY_EXISTS,
            409,
            "transcription_session_id: there is such a session",
        )


@pytest.mark.parametrize(
    ("audio", "problem"),
    [
        (AudioConfig(audio_encoding="MP3"), "audio_config.audio_encoding: must be LINEAR16"),
        (AudioConfig(audio_language="de-DE"), "audio_config.audio_language: must be en-US"),
        (AudioConfig(sample_rate_hertz=8000), "audio_config.sample_rate_hertz: must be 16000"),
    ],
)
def test_other_audio(audio: AudioConfig, problem: str) -> None:
    request = CreateSession(audio_config=audio)
    assert refusal(SukiSessions().create, CLINIC, request, "one", 0.0) == (GrpcCode.INVALID_ARGUMENT, 400, problem)


def made(sessions: SukiSessions, *ids: str, owner: Partner = CLINIC) -> None:
    for each in ids:
        sessions.create(owner, CreateSession(), each, 0.0)


def kept(sessions: SukiSessions, *ids: str) -> list[str]:
    return [each for each in ids if sessions.state(each) is not None]


def test_there_is_an_end_to_their_number() -> None:
    sessions = SukiSessions(max_sessions=2)
    made(sessions, "one", "two")
    for each in ("one", "two"):
        sessions.open(CLINIC, each, 1.0)
    assert refusal(sessions.create, CLINIC, CreateSession(), "three", 2.0) == (
        GrpcCode.RESOURCE_EXHAUSTED,
        429,
        "all 2 sessions are in use: end some",
    )
    sessions.end(CLINIC, "two", 3.0)
    sessions.create(CLINIC, CreateSession(), "three", 4.0)
    assert [sessions.state(each) for each in ("one", "two", "three")] == [
        SukiSessionState.RUNNING,
        None,
        SukiSessionState.READY,
    ]


def test_a_partner_with_all_sessions_keeps_nobody_out() -> None:
    sessions = SukiSessions(max_sessions=4)
    made(sessions, "a1", "a2", "a3", "a4")
    made(sessions, "b1", "b2", owner=Partner("beta"))
    assert kept(sessions, "a1", "a2", "a3", "a4", "b1", "b2") == ["a3", "a4", "b1", "b2"]
    made(sessions, *(f"flood {number}" for number in range(100)))
    assert kept(sessions, "b1", "b2") == ["b1", "b2"]


def test_a_partner_under_many_provider_ids_is_one() -> None:
    sessions = SukiSessions(max_sessions=4)
    made(sessions, "b1", "b2", owner=Partner("beta", "ada"))
    for number in range(100):
        made(sessions, f"flood {number}", owner=Partner("acme", str(number)))
    assert kept(sessions, "b1", "b2") == ["b1", "b2"]


def test_room_is_made_by_the_ended_then_the_new_then_the_used_but_never_by_the_running() -> None:
    sessions = SukiSessions(max_sessions=4)
    made(sessions, "running", "used", "new", "ended")
    for each in ("running", "used"):
        sessions.open(CLINIC, each, 1.0)
    sessions.drop("used", 2.0)
    sessions.end(CLINIC, "ended", 3.0)
    order: list[str] = []
    for each in ("b1", "b2", "b3"):
        before = kept(sessions, "running", "used", "new", "ended")
        made(sessions, each, owner=Partner("beta"))
        sessions.open(Partner("beta"), each, 4.0)
        order += set(before) - set(kept(sessions, *before))
    assert order == ["ended", "new", "used"]


def test_what_nobody_uses_is_forgotten() -> None:
    sessions = SukiSessions(forget_s=10.0)
    sessions.create(CLINIC, CreateSession(), "unused", 0.0)
    sessions.create(CLINIC, CreateSession(), "streaming", 0.0)
    sessions.create(CLINIC, CreateSession(), "used", 0.0)
    sessions.open(CLINIC, "streaming", 0.0)
    sessions.open(CLINIC, "used", 1.0)
    sessions.drop("used", 5.0)
    sessions.create(CLINIC, CreateSession(), "new", 10.0)
    assert [sessions.state(each) for each in ("unused", "streaming", "used")] == [
        None,
        SukiSessionState.RUNNING,
        SukiSessionState.IDLE,
    ]
    sessions.drop("unused", 10.0)
    assert refusal(sessions.open, CLINIC, "used", 15.0)[0] is GrpcCode.NOT_FOUND


class Model(RuleBasedStateMachine):
    """The same calls on the sessions and on a plain dictionary; both must agree."""

    sessions_made = Bundle("sessions_made")
    owners = st.sampled_from([CLINIC, OTHER])

    @initialize(max_sessions=st.integers(1, 4))
    def begin(self, max_sessions: int) -> None:
        self.max_sessions = max_sessions
        self.sessions = SukiSessions(max_sessions=max_sessions, forget_s=10.0)
        self.known: dict[str, tuple[Partner, SukiSessionState, float]] = {}
        self.now = 0.0
        self.made = 0

    def forget(self) -> None:
        for each, (owner, state, used_at) in list(self.known.items()):
            if self.now - used_at >= 10.0:
                if state is SukiSessionState.RUNNING:
                    self.move(each, state, owner)
                else:
                    del self.known[each]

    def move(self, session: str, state: SukiSessionState, owner: Partner) -> None:
        self.known.pop(session, None)
        self.known[session] = owner, state, self.now

    def expect(self, owner: Partner, session: str, *states: SukiSessionState) -> GrpcCode | None:
        known = self.known.get(session)
        if known is None or known[0] != owner:
            return GrpcCode.NOT_FOUND
        return None if known[1] in states else GrpcCode.FAILED_PRECONDITION

    def check(self, expected: GrpcCode | None, call: Any, *arguments: Any) -> bool:
        if expected is not None:
            assert refusal(call, *arguments)[0] is expected
            return False
        call(*arguments)
        return True

    @rule(seconds=st.integers(0, 6))
    def wait(self, seconds: int) -> None:
        self.now += seconds

    @rule(target=sessions_made, owner=owners, chosen=st.booleans())
    def create(self, owner: Partner, chosen: bool) -> str:
        self.made += 1
        session = str(uuid.UUID(int=self.made))
        self.forget()
        full = len(self.known) >= self.max_sessions
        states = SukiSessionState.COMPLETED, SukiSessionState.READY, SukiSessionState.IDLE  # all have one partner
        replaced = [each for wanted in states for each, (_, state, _) in self.known.items() if state is wanted]
        request = CreateSession(session) if chosen else CreateSession()
        expected = GrpcCode.RESOURCE_EXHAUSTED if full and not replaced else None
        if self.check(expected, self.sessions.create, owner, request, session, self.now):
            if full:
                del self.known[replaced[0]]
            self.move(session, SukiSessionState.READY, owner)
        return session

    @rule(owner=owners, session=sessions_made)
    def open(self, owner: Partner, session: str) -> None:
        self.forget()
        expected = self.expect(owner, session, SukiSessionState.READY, SukiSessionState.IDLE)
        if self.check(expected, self.sessions.open, owner, session, self.now):
            self.move(session, SukiSessionState.RUNNING, owner)

    @rule(session=sessions_made)
    def drop(self, session: str) -> None:
        self.sessions.drop(session, self.now)
        if session in self.known and self.known[session][1] is SukiSessionState.RUNNING:
            self.move(session, SukiSessionState.IDLE, self.known[session][0])

    @rule(owner=owners, session=consumes(sessions_made), again=st.booleans())
    def end(self, owner: Partner, session: str, again: bool) -> None:
        for _ in range(1 + again):
            self.forget()
            expected = self.expect(
                owner, session, SukiSessionState.READY, SukiSessionState.IDLE, SukiSessionState.RUNNING
            )
            if self.check(expected, self.sessions.end, owner, session, self.now):
                self.move(session, SukiSessionState.COMPLETED, owner)

    @invariant()
    def they_agree(self) -> None:
        assert len(self.sessions) <= self.max_sessions
        for session, (_, state, _) in self.known.items():
            assert self.sessions.state(session) is state
        assert len(self.sessions) == len(self.known)


TestModel = Model.TestCase
TestModel.settings = settings(
    max_examples=200, stateful_step_count=40, derandomize=True, suppress_health_check=list(HealthCheck)
)
