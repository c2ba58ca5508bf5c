import json
import random
import struct
import tracemalloc
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowpi.audio.utterance import About, PartId, Utterance
from flowpi.core.hints import Hints, TargetApp
from flowpi.dsp.format import BYTES_PER_S, FRAME_BYTES
from flowpi.spool import file_format
from flowpi.spool.file_format import (
    AUDIO,
    BLOCK_BYTES,
    ENDING,
    HEADER,
    MAGIC,
    MAGIC_1,
    MAX_PIECE_BYTES,
    PLACE,
    PROFILE,
    RECORD,
    Ending,
    NewerVersion,
    _record,
    parse,
)
from tests.sound import ID, noise, ulid

VECTORS = Path(__file__).parents[1] / "vectors" / "spool"
PART = PartId(ID)
SIZES = (8000, 8000, 3200, 3200, 20_000, 400, 1200)
"""The sizes of pieces, some followed by filler and some not."""

PLACES = [sum(SIZES[:number]) for number in range(len(SIZES))]
SOUND = noise(sum(SIZES) / BYTES_PER_S)
PIECES = [SOUND[at : at + size] for at, size in zip(PLACES, SIZES, strict=True)]
ABOUT = About(ID, 1_700_000_000.0)


def records(pieces: list[bytes], about: About = ABOUT, end: Ending | None = None) -> list[bytes]:
    """Return the header, the sound with its filler, and the ending: the correct one unless another is given."""
    found = [file_format.header(about)]
    begin = frames = 0
    for number, pcm in enumerate(pieces):
        audio = file_format.audio(frames, pcm)
        frames += len(pcm) // FRAME_BYTES
        if number < len(pieces) - 1:  # the ending follows the last in the same write
            audio += file_format.filler(begin, sum(map(len, found)) + len(audio))
        found.append(audio)
        begin = sum(map(len, found))
    return [*found, file_format.ending(end or Ending(frames))]


def read(data: bytes) -> Utterance:
    utterance = parse(data, PART)
    assert utterance is not None
    return utterance


def sound(utterance: Utterance) -> bytes:
    return utterance.read(0, utterance.length)


RECORDS = records(PIECES)
WHOLE = b"".join(RECORDS)


def check(data: bytes) -> None:
    """Check that a damaged file is read as nothing, or as what was said in its place, with silence in the gaps."""
    try:
        utterance = parse(data, PART)
    except NewerVersion:
        assert data[: len(MAGIC)] != MAGIC
        return
    if utterance is None:
        return
    heard = sound(utterance)
    silent = 0
    for at, said in zip(PLACES, PIECES, strict=True):
        piece = heard[at : at + len(said)]
        silent += 0 if piece == said[: len(piece)] else len(piece)
        assert piece in (said, bytes(len(piece)))
    assert len(heard) <= len(SOUND)
    assert utterance.lost_frames == silent // FRAME_BYTES
    assert utterance.partial is (data[len(MAGIC) :] != WHOLE[len(MAGIC) :])  # whatever the first line says
    assert utterance.complete


class TestVectors:
    """Files as earlier versions left them on the cards of users."""

    @pytest.mark.promise("P26")
    @pytest.mark.parametrize("version", [1, 2])
    def test_every_version_there_was_is_read(self, version: int) -> None:
        utterance = parse((VECTORS / f"version-{version}.utt").read_bytes(), PartId(ulid(7), 2))
        assert utterance is not None
        assert utterance.about == About(ulid(7), 1_700_000_000.25, 2, Hints(app=TargetApp(name="Notes")))
        assert sound(utterance) == noise(0.25, seed=7)
        assert utterance.lost_frames == 7
        assert (utterance.complete, utterance.damaged) == (True, False)
        assert utterance.partial is (version == 2)  # as marked at its end; version 1 had no such mark

    def test_this_version_is_written_as_ever(self) -> None:
        about = About(ulid(7), 1_700_000_000.25, 2, Hints(app=TargetApp(name="Notes")))
        pcm = noise(0.25, seed=7)
        end = Ending(len(pcm) // FRAME_BYTES, 7, partial=True)
        written = b"".join(records([pcm[:7600], pcm[7600:]], about, end))
        assert written == (VECTORS / "version-2.utt").read_bytes()

    @pytest.mark.parametrize("version", [3, 10, 9999])
    def test_a_newer_version_is_told_from_a_broken_file(self, version: int) -> None:
        with pytest.raises(NewerVersion, match=f"^version {version}$"):
            parse(WHOLE.replace(b"utterance 2", b"utterance %d" % version), PART)


class TestFiller:
    """The zeros that make a write end where a block ends."""

    def test_a_second_of_sound_ends_with_a_block(self) -> None:
        begin = 0
        for second in range(100):
            record = file_format.audio(second * 16_000, bytes(32_000))
            written = (file_format.header(ABOUT) if second == 0 else b"") + record
            written += file_format.filler(begin, begin + len(written))
            begin += len(written)
            assert begin == (second + 1) * 8 * BLOCK_BYTES

    @given(st.integers(0, 1 << 27), st.integers(1, 1 << 21))
    def test_it_is_little(self, begin: int, size: int) -> None:
        filler = file_format.filler(begin, begin + size)
        assert not any(filler)
        assert len(filler) < min(BLOCK_BYTES, size / 8 + 1)
        assert not filler or (begin + size + len(filler)) % BLOCK_BYTES == 0

    def test_it_is_no_damage(self) -> None:
        utterance = read(WHOLE)
        assert WHOLE.count(bytes(100)) > 2
        assert sound(utterance) == SOUND
        assert (utterance.partial, utterance.damaged, utterance.lost_frames) == (False, False, 0)

    @pytest.mark.parametrize("torn", [0, 1, 11, 12, 500, 3219])
    def test_nor_is_what_a_crash_left_behind_it(self, torn: int) -> None:
        whole = b"".join(RECORDS[:3])
        assert len(whole) % BLOCK_BYTES == 0
        for end in (whole, whole.rstrip(b"\0"), whole.rstrip(b"\0") + b"\0"):
            utterance = read(end + (RECORDS[3][:torn] if end == whole else b""))
            assert sound(utterance) == SOUND[: sum(SIZES[:2])]
            assert (utterance.partial, utterance.damaged) == (True, False)

    def test_zeros_that_are_none_are_damage(self) -> None:
        """Filler ends at the end of a block. If it goes on for a block more, a record is missing."""
        before, after = b"".join(RECORDS[:3]), b"".join(RECORDS[3:])
        assert not read(before + after).damaged
        for zeros in (1, BLOCK_BYTES):
            utterance = read(before + bytes(zeros) + after)
            assert sound(utterance) == SOUND
            assert (utterance.partial, utterance.damaged) == (True, True)

    def test_a_small_record_that_was_lost_and_looks_like_it_is_missed(self) -> None:
        """The lost record's block is as it was before the write, and the next record begins with the next block."""
        header, first = RECORDS[0], file_format.audio(0, PIECES[0][:1000])
        third = file_format.audio(1000, PIECES[0][2000:])
        lost = bytes(BLOCK_BYTES - len(header + first))
        utterance = read(header + first + lost + third)
        assert sound(utterance) == PIECES[0][:1000] + bytes(1000) + PIECES[0][2000:]
        assert (utterance.lost_frames, utterance.damaged) == (500, True)


class TestDamage:
    @given(st.integers(0, len(WHOLE)))
    def test_cut_anywhere(self, size: int) -> None:
        check(WHOLE[:size])

    def test_cut_at_each_byte_of_the_records_around_the_sound(self) -> None:
        for size in [*range(400), *range(len(WHOLE) - 200, len(WHOLE) + 1)]:
            check(WHOLE[:size])

    def test_cut_within_the_sound_what_was_synced_before_stays(self) -> None:
        kept = read(WHOLE[: len(b"".join(RECORDS[:4])) + 100])
        assert kept.length == sum(SIZES[:3])
        assert not kept.damaged  # that is what a crash leaves

    @given(st.lists(st.integers(0, 8 * len(WHOLE) - 1), min_size=1, max_size=3, unique=True))
    def test_bits_flipped_anywhere(self, bits: list[int]) -> None:
        data = bytearray(WHOLE)
        for bit in bits:
            data[bit // 8] ^= 1 << bit % 8
        check(bytes(data))

    @given(st.integers(0, len(WHOLE) - 1), st.integers(1, 20_000))
    def test_zeros_where_blocks_were_never_written(self, at: int, size: int) -> None:
        check(WHOLE[:at] + bytes(min(size, len(WHOLE) - at)) + WHOLE[at + size :])

    @given(st.binary(max_size=200))
    def test_rubbish(self, data: bytes) -> None:
        parse(data, PART)
        parse(MAGIC + data, PART)
        parse(MAGIC_1 + data, PART)
        check(WHOLE[:-30] + data)

    @pytest.mark.parametrize("broken", range(len(RECORDS)))
    def test_what_stands_behind_damage_is_read(self, broken: int) -> None:
        """Only one record is lost: silence of the same length replaces it."""
        damaged = bytearray(b"".join(RECORDS))
        at = len(b"".join(RECORDS[:broken])) + (len(MAGIC) if broken == 0 else 0)
        damaged[at + RECORD.size + 9] ^= 1
        utterance = read(bytes(damaged))
        hole = range(0)
        if 0 < broken <= len(PIECES):
            hole = range(PLACES[broken - 1], PLACES[broken - 1] + SIZES[broken - 1])
        expected = bytearray(SOUND)
        expected[hole.start : hole.stop] = bytes(len(hole))
        assert sound(utterance) == expected
        assert utterance.lost_frames == len(hole) // FRAME_BYTES
        assert utterance.partial
        assert utterance.damaged

    @pytest.mark.parametrize("first", [1, 2])
    def test_without_a_beginning_the_rest_is_read(self, first: int) -> None:
        utterance = read(b"".join(RECORDS[first:]))
        assert sound(utterance) == SOUND[PLACES[first - 1] :]
        assert utterance.partial
        assert utterance.damaged

    def test_without_a_header_the_name_tells_what_it_is(self) -> None:
        utterance = read(bytes(2000) + b"".join(RECORDS[1:]))
        assert sound(utterance) == SOUND
        assert utterance.about.id == ID
        assert 1_600_000_000 < utterance.about.started_at < 1_800_000_000  # the time in the id
        assert utterance.partial

    def test_the_mark_of_a_microphone_that_was_unplugged_stays(self) -> None:
        end = Ending(len(SOUND) // FRAME_BYTES, 5, partial=True)
        utterance = read(b"".join(records(PIECES, end=end)))
        assert (utterance.partial, utterance.damaged, utterance.lost_frames) == (True, False, 5)

    def test_less_sound_than_the_end_says(self) -> None:
        utterance = read(RECORDS[0] + file_format.audio(0, PIECES[0]) + RECORDS[-1])
        assert sound(utterance) == PIECES[0]
        assert (utterance.partial, utterance.damaged) == (True, True)

    def test_the_sound_of_another_utterance_is_not_taken(self) -> None:
        assert parse(WHOLE, PartId(ulid(5))) is None
        assert parse(WHOLE, PartId(ID, 2)) is None

    def test_a_context_of_another_version_is_left_out(self) -> None:
        about = {"id": ID, "started_at": 1.0, "part": 1, "context": {"app": "Notes", "mood": "good"}, "mood": "good"}
        utterance = read(MAGIC + _record(HEADER, json.dumps(about).encode()) + RECORDS[1])
        assert utterance.about == About(ID, 1.0)
        assert sound(utterance) == PIECES[0]

    def test_a_profile_of_another_version_is_left_out(self) -> None:
        about = {"id": ID, "started_at": 1.0, "part": 1, "context": {}, "profile": {"name": "german"}}
        assert read(MAGIC + _record(HEADER, json.dumps(about).encode()) + RECORDS[1]).about == About(ID, 1.0)

    def test_a_profile_outlives_a_context_of_another_version(self) -> None:
        about = {"id": ID, "started_at": 1.0, "part": 1, "context": {"mood": "good"}, "profile": "german"}
        read_back = read(MAGIC + _record(HEADER, json.dumps(about).encode()) + RECORDS[1]).about
        assert read_back == About(ID, 1.0, profile="german")

    def test_the_profile_is_in_the_header_only_if_there_is_one(self) -> None:
        about = About(ID, 1.0, profile="german")
        assert read(file_format.header(about) + RECORDS[1]).about == about
        assert b"profile" not in file_format.header(About(ID, 1.0))

    @pytest.mark.parametrize("chosen", ["code", None])
    def test_a_profile_that_was_chosen_later(self, chosen: str | None) -> None:
        about = About(ID, 1.0, hints=Hints(app=TargetApp(name="Notes")), profile="german")
        header, _, end = records([SOUND], about)
        half = len(SOUND) // 2
        data = [header, file_format.audio(0, SOUND[:half]), file_format.profile(chosen)]
        utterance = read(b"".join([*data, file_format.audio(half // FRAME_BYTES, SOUND[half:]), end]))
        assert utterance.about == About(ID, 1.0, hints=about.hints, profile=chosen)
        assert (sound(utterance), utterance.partial, utterance.damaged) == (SOUND, False, False)

    def test_of_a_write_that_was_cut_off_in_the_profile_all_before_it_counts(self) -> None:
        before = b"".join(RECORDS[:2])
        for size in range(len(record := file_format.profile("code")) + 1):
            utterance = read(before + record[:size])
            assert (sound(utterance), utterance.damaged) == (PIECES[0], False)

    def test_a_profile_outlives_a_damaged_header(self) -> None:
        utterance = read(b"".join([RECORDS[0][:-1], b"x", file_format.profile("code"), *RECORDS[1:]]))
        assert (utterance.about.profile, sound(utterance), utterance.damaged) == ("code", SOUND, True)

    @pytest.mark.parametrize("body", [b"", b"7", b"[" * 100_000, b'"\xff"'])
    def test_a_profile_that_is_none(self, body: bytes) -> None:
        utterance = read(b"".join([*RECORDS[:2], _record(PROFILE, body), *RECORDS[2:]]))
        assert (utterance.about, sound(utterance), utterance.damaged) == (ABOUT, SOUND, True)

    def test_a_long_piece_is_written_as_several_records(self) -> None:
        pcm = random.Random(1).randbytes(MAX_PIECE_BYTES * 5 // 2)
        assert sound(read(file_format.header(ABOUT) + file_format.audio(0, pcm))) == pcm


class TestHostile:
    """Whole records with false numbers: they cost neither memory nor time."""

    def test_a_hole_of_a_million_years(self) -> None:
        first = file_format.audio(0, PIECES[0])
        data = RECORDS[0] + first + _record(AUDIO, PLACE.pack(1 << 60) + PIECES[1]) + RECORDS[-1]
        tracemalloc.start()
        utterance = read(data)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 1 << 20
        assert sound(utterance) == PIECES[0] + PIECES[1]
        assert utterance.partial

    @pytest.mark.parametrize("marker", [AUDIO, HEADER, b"\xf5up?", b"\xf5up"])
    def test_nothing_but_markers(self, marker: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
        """Each marker promises 2 MB of sound; to check the sums of all of them would take hours."""
        checked = 0
        real = zlib.crc32

        def crc32(data: bytes, value: int = 0) -> int:
            nonlocal checked
            checked += len(data)
            return real(data, value)

        monkeypatch.setattr(zlib, "crc32", crc32)
        data = MAGIC + (marker + struct.pack("<I", 1 << 21)) * 500_000
        assert parse(data, PART) is None
        assert checked < 6 * len(data)

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"null",
            b"[" * 100_000,
            b'{"frames": -1}',
            b'{"frames": 8000, "lost_frames": 1e30}',
            b'{"frames": 8000, "lost_frames": -5}',
            b'{"frames": 99999999999999999999999}',
        ],
    )
    def test_an_ending_that_is_none(self, body: bytes) -> None:
        utterance = read(b"".join(RECORDS[:-1]) + _record(ENDING, body))
        assert sound(utterance) == SOUND
        assert utterance.partial
        assert utterance.lost_frames == 0

    @pytest.mark.parametrize("started_at", [1e300, -1e12, 253_402_300_800.0])
    def test_a_moment_that_is_no_date(self, started_at: float) -> None:
        utterance = read(file_format.header(About(ID, started_at)) + RECORDS[1])
        assert utterance.about.started_at == 0

    @pytest.mark.parametrize("body", [PLACE.pack(0), PLACE.pack(0) + b"abc", b"", b"1234567"])
    def test_sound_that_is_none(self, body: bytes) -> None:
        utterance = read(RECORDS[0] + _record(AUDIO, body) + b"".join(RECORDS[1:]))
        assert sound(utterance) == SOUND
        assert utterance.damaged

    def test_sound_that_comes_twice(self) -> None:
        utterance = read(b"".join([*RECORDS[:3], *RECORDS[1:]]))
        assert sound(utterance) == SOUND
        assert utterance.damaged

    def test_a_file_larger_than_any_utterance_is_not_looked_through(self, tmp_path: Path) -> None:
        path = tmp_path / "large"
        with path.open("w+b") as file:
            file.write(WHOLE)
            file.truncate(1 << 40)  # a hole, without blocks
            assert file_format.read(file, PART) is None


def test_an_utterance_is_read_in_little_more_memory_than_its_sound(tmp_path: Path) -> None:
    """Promise P36. There once were four copies of 330 s of sound in memory."""
    second = noise(1.0)
    path = tmp_path / "long"
    path.write_bytes(b"".join(records([second] * 100)))
    tracemalloc.start()
    with path.open("rb") as file:
        utterance = file_format.read(file, PART)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert utterance is not None
    assert utterance.length == 100 * len(second)
    assert peak < 1.3 * utterance.length
