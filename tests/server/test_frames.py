"""The gate in front of the WebSocket parser: what passes, what is refused by its header, and the shared budget."""

import pytest

from flowpi.server.frames import MAX_MESSAGE_BYTES, SMALL_BYTES, TOO_LARGE, UNMASKED, ByteBudget, FrameGate
from tests.backends.hostile import BINARY, CONTINUATION, PING, TEXT
from tests.backends.hostile import frame as any_frame


class Recorder:
    """A parser that records what it is given."""

    def __init__(self) -> None:
        self.data = b""
        self.ended = False

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        self.data += data
        return False, b""

    def feed_eof(self) -> None:
        self.ended = True


def frame(opcode: int, payload: bytes = b"", fin: bool = True) -> bytes:
    return any_frame(opcode, payload, fin=fin, mask=True)


def header(length: int, opcode: int = BINARY, fin: bool = True) -> bytes:
    """Return the header of a masked frame whose payload is to follow."""
    return bytes([fin << 7 | opcode, 0xFF]) + length.to_bytes(8, "big") + bytes(4)


def gate_and_parser(budget: ByteBudget | None = None, *, known: bool = True) -> tuple[FrameGate, Recorder]:
    parser = Recorder()
    gate = FrameGate(budget or ByteBudget(), known=known)
    gate.watch(parser)
    return gate, parser


STREAM = b"".join(
    [
        frame(TEXT, b"{}"),
        frame(BINARY, b"a" * 200, fin=False),
        frame(PING, b"b" * 125),
        frame(CONTINUATION, b"c" * 300),
        frame(TEXT),
    ]
)


@pytest.mark.parametrize("piece", [1, 2, 3, 7, 100, len(STREAM)])
@pytest.mark.parametrize("known", [False, True])
def test_frames_pass_as_they_are_however_they_are_cut(piece: int, known: bool) -> None:
    gate, parser = gate_and_parser(known=known)
    for at in range(0, len(STREAM), piece):
        gate.feed_data(STREAM[at : at + piece])
    gate.feed_eof()
    assert parser.data == STREAM
    assert parser.ended
    assert gate.problem is None


@pytest.mark.parametrize("piece", [1, 5, 1000])
def test_nothing_passes_from_the_first_frame_without_a_mask(piece: int) -> None:
    gate, parser = gate_and_parser()
    stream = STREAM + any_frame(TEXT, b"{}") + STREAM
    for at in range(0, len(stream), piece):
        gate.feed_data(stream[at : at + piece])
    assert parser.data == STREAM + UNMASKED
    assert gate.problem == "frame: not masked"


@pytest.mark.parametrize(("known", "limit"), [(False, SMALL_BYTES), (True, MAX_MESSAGE_BYTES)])
def test_a_message_is_refused_by_its_header(known: bool, limit: int) -> None:
    gate, parser = gate_and_parser(known=known)
    gate.feed_data(header(limit))
    assert gate.problem is None
    gate, parser = gate_and_parser(known=known)
    gate.feed_data(header(limit + 1) + b"a" * 100)
    assert parser.data == TOO_LARGE
    assert gate.problem is not None


def test_fragments_count_together() -> None:
    gate, parser = gate_and_parser(known=False)
    first = frame(BINARY, bytes(SMALL_BYTES), fin=False)
    gate.feed_data(first + frame(PING) + frame(CONTINUATION, b"a"))
    assert parser.data == first + frame(PING) + TOO_LARGE


def test_each_message_begins_anew() -> None:
    gate, _ = gate_and_parser(known=False)
    for _ in range(3):
        gate.feed_data(frame(BINARY, bytes(SMALL_BYTES)))
    assert gate.problem is None


def test_with_a_key_a_client_may_send_more() -> None:
    gate, _ = gate_and_parser(known=False)
    gate.feed_data(frame(TEXT, b"{}"))
    gate.admit()
    gate.feed_data(header(SMALL_BYTES + 1))
    assert gate.problem is None


def test_large_messages_share_a_budget_until_they_are_worked_off() -> None:
    budget = ByteBudget(1_000_000)
    one, other = gate_and_parser(budget)[0], gate_and_parser(budget)[0]
    one.feed_data(frame(BINARY, bytes(600_000)))
    other.feed_data(frame(BINARY, bytes(400_000)))
    one.finish_message()
    other.feed_data(frame(BINARY, bytes(600_000)))
    assert other.problem is None
    one.feed_data(header(100_000))
    assert one.problem == "message: large, while other large ones are read"


def test_small_messages_need_no_budget() -> None:
    gate, _ = gate_and_parser(ByteBudget(0))
    for _ in range(3):
        gate.feed_data(frame(BINARY, bytes(SMALL_BYTES)))
    assert gate.problem is None


def test_fragments_of_a_large_message_borrow_its_size_once() -> None:
    budget = ByteBudget(300_000)
    gate, _ = gate_and_parser(budget)
    gate.feed_data(frame(BINARY, bytes(100_000), fin=False) + frame(CONTINUATION, bytes(200_000)))
    assert gate.problem is None
    assert not budget.borrow(1)
    gate.finish_message()
    assert budget.borrow(300_000)


@pytest.mark.parametrize("sent", [frame(BINARY, bytes(300_000)), header(300_000) + b"a", header(300_000, fin=False)])
def test_the_end_of_a_connection_gives_back_what_it_borrowed(sent: bytes) -> None:
    budget = ByteBudget(300_000)
    gate, parser = gate_and_parser(budget)
    gate.feed_data(sent)
    assert not budget.borrow(1)
    gate.close()
    assert budget.borrow(300_000)
    before = parser.data
    gate.feed_data(frame(TEXT, b"late"))
    assert parser.data == before
