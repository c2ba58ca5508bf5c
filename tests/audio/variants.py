"""Sound files as they are in the wild, made of one recording: each with what must come out of it.

The names are those of the faults that programs have had with them: crashed recorders, pipes, joined files, headers of
other systems. All are made here, at the time of the test.
"""

import audioop
import io
import re
import struct
from collections.abc import Iterator
from functools import cache
from importlib import resources
from typing import Any

import numpy as np
import soundfile
import soxr
from msgspec import Struct

from flowpi.dsp.format import FRAME_BYTES, RATE_HZ

SECONDS = 2.0
GUID = b"\0\0\0\0\x10\0\x80\0\0\xaa\0\x38\x9b\x71"


class Variant(Struct):
    """A file, and what it must give.

    Attributes:
        times: how often the reference is in it: the sound of joined files comes once for each.
        share: how much of the (repeated) reference comes, where a file is cut off.
        likeness: the least correlation with the reference; 1 stands for the same samples.
        warning: what one of the warnings must contain; empty: there is none.
        refused: what the error must say instead.
    """

    name: str
    data: bytes
    times: int = 1
    share: float = 1.0
    likeness: float = 1.0
    warning: str = ""
    refused: str = ""


@cache
def reference() -> bytes:
    """Return two seconds of speech, int16 mono 16 kHz, that begin and end in sound."""
    with resources.files("flowpi").joinpath("data/demo.wav").open("rb") as file:
        file.seek(44 + RATE_HZ // 2 * FRAME_BYTES)
        return file.read(int(SECONDS * RATE_HZ) * FRAME_BYTES)


@cache
def samples() -> "np.ndarray[Any, Any]":
    """Return the reference as floats from -1 to 1."""
    return np.frombuffer(reference(), "<i2") / 32_768


def chunk(name: bytes, content: bytes, size: int | None = None, order: str = "<", pad: bool = True) -> bytes:
    size = len(content) if size is None else size
    return struct.pack(f"{order}4sI", name, size & 0xFFFFFFFF) + content + (b"\0" * (len(content) % 2) if pad else b"")


def fmt(
    form: int = 1,
    channels: int = 1,
    rate_hz: int = RATE_HZ,
    bits: int = 16,
    align: int | None = None,
    extra: bytes = b"",
    order: str = "<",
) -> bytes:
    align = channels * ((bits + 7) // 8) if align is None else align
    content = struct.pack(f"{order}HHIIHH", form, channels, rate_hz, rate_hz * align & 0xFFFFFFFF, align, bits) + extra
    return chunk(b"fmt ", content, order=order)


def riff(*chunks: bytes, magic: bytes = b"RIFF", order: str = "<", size: int | None = None) -> bytes:
    body = b"WAVE" + b"".join(chunks)
    return struct.pack(f"{order}4sI", magic, len(body) if size is None else size) + body


def wav(payload: bytes | None = None, size: int | None = None, *more: bytes, **shape: Any) -> bytes:
    payload = reference() if payload is None else payload
    return riff(fmt(**shape), chunk(b"data", payload, size, pad=False), *more)


def extensible(form: int, valid_bits: int) -> bytes:
    return struct.pack("<HHIH", 22, valid_bits, 4, form) + GUID


def encoded(
    form: str, subtype: str, rate_hz: int = RATE_HZ, signs: tuple[float, ...] = (1,), repeats: int = 1, gain: float = 1
) -> bytes:
    """Return the reference, perhaps several times or clipped, as libsndfile writes it, with a channel for each sign."""
    values = np.tile(samples() * gain, repeats).clip(-1, 1)
    values = values if rate_hz == RATE_HZ else soxr.resample(values, RATE_HZ, rate_hz)
    out = io.BytesIO()
    soundfile.write(out, np.stack([values * sign for sign in signs], 1), rate_hz, format=form, subtype=subtype)
    return out.getvalue()


def in_four_bytes(high: bool) -> bytes:
    values = np.frombuffer(reference(), "<i2").astype("<i4")
    return (values << 16 if high else values << 8).astype("<i4").tobytes()


def swapped() -> bytes:
    return audioop.byteswap(reference(), 2)


def stereo(left: float, right: float) -> bytes:
    pair = np.stack([samples() * left, samples() * right], 1) * 32_768
    return pair.clip(-32_768, 32_767).astype("<i2").tobytes()


def unfinished() -> Iterator[Variant]:
    """Yield headers that were written before the recording, and not after it."""
    pcm, half = reference(), len(reference()) // 2
    yield Variant("01_data_size_0", wav(size=0))
    yield Variant("01b_data_and_riff_size_0", riff(fmt(), chunk(b"data", pcm, 0), size=0))
    yield Variant("01c_as_AVAudioFile", riff(chunk(b"JUNK", bytes(28)), fmt(), chunk(b"FLLR", bytes(4008)),
                                              chunk(b"data", pcm, 0), size=0))  # fmt: skip
    yield Variant("01d_data_size_0_stereo", wav(stereo(1, 1), 0, channels=2), likeness=0.999)
    yield Variant("01e_data_size_0_begins_in_silence", wav(bytes(640) + pcm[640:], 0), likeness=0.999)
    yield Variant("02_data_size_ffffffff", wav(size=0xFFFFFFFF))
    yield Variant("03_data_size_7ffff000", wav(size=0x7FFFF000))
    yield Variant("03b_data_size_80000000", wav(size=0x80000000))
    yield Variant("03c_data_size_7fffffff", wav(size=0x7FFFFFFF))
    yield Variant("03d_size_of_a_pipe_of_arecord", wav(size=0x80000000 - 44))
    yield Variant("04_cut_in_a_sample", wav(pcm[:-1], 0xFFFFFFFF))
    announced = "has 1.0 of the 2.0 s that it announces"
    yield Variant("04b_cut_in_half", wav(pcm[:half], len(pcm)), share=0.5, warning=announced)
    yield Variant("04c_cut_in_half_stereo", wav(stereo(1, 1)[: 2 * half], 2 * len(pcm), channels=2), share=0.5,
                  likeness=0.999, warning=announced)  # fmt: skip
    yield Variant("15c_RF64_with_ds64_not_filled", rf64(ds64=bytes(28)))
    yield Variant("15d_RF64_with_ds64_of_ff", rf64(ds64=b"\xff" * 24 + bytes(4)))
    yield Variant("15e_RF64_without_ds64", riff(fmt(), chunk(b"data", pcm, 0xFFFFFFFF), magic=b"RF64", size=-1 % 2**32))
    yield Variant("15f_RF64_cut_in_half", rf64(payload=pcm[:half]), share=0.5, warning=announced)


def rf64(payload: bytes | None = None, ds64: bytes | None = None, magic: bytes = b"RF64") -> bytes:
    payload = reference() if payload is None else payload
    sizes = (
        struct.pack("<QQQI", len(payload) + 72, len(reference()), len(reference()) // 2, 0) if ds64 is None else ds64
    )
    return riff(chunk(b"ds64", sizes), fmt(), chunk(b"data", payload, 0xFFFFFFFF), magic=magic, size=0xFFFFFFFF)


def joined() -> Iterator[Variant]:
    """Yield files with more audio than the first header announces."""
    pcm, half = reference(), len(reference()) // 2
    first, second = pcm[:half], pcm[half:]
    yield Variant("05_two_files_joined", wav() * 2, times=2)
    yield Variant("05a_three_files_joined", wav() * 3, times=3)
    yield Variant("05b_size_of_the_first_chunk_only", wav(size=3200))
    yield Variant("05c_headers_all_along", b"".join(wav(pcm[at : at + 3200]) for at in range(0, len(pcm), 3200)))
    yield Variant("05d_headers_of_a_pipe_all_along", wav(first, 0xFFFFFFFF) + wav(second, 0xFFFFFFFF))
    yield Variant("05e_two_crashed_recordings", wav(first, 0) + wav(second, 0))
    yield Variant("05f_joined_at_different_rates", wav() + encoded("WAV", "PCM_16", 44_100), times=2, likeness=0.99)
    yield Variant("05g_joined_mono_and_stereo", wav() + wav(stereo(1, 1), channels=2), times=2, likeness=0.999)
    yield Variant("05h_the_first_one_cut_off", wav(first, len(pcm)) + wav(second), warning="has 2.0 of the 3.0 s")
    yield Variant("05i_joined_to_RF64", wav() + rf64(), times=2)
    yield Variant("05j_joined_with_an_odd_end", wav(pcm + b"\0") + wav(), times=2)
    yield Variant("13_two_data_chunks", riff(fmt(), chunk(b"data", first), chunk(b"data", second)))
    yield Variant("13b_an_empty_one_first", riff(fmt(), chunk(b"data", b""), chunk(b"data", pcm)))
    yield Variant(
        "13c_with_a_LIST_between", riff(fmt(), chunk(b"data", first), chunk(b"LIST", b"INFO"), chunk(b"data", second))
    )
    cut = chunk(b"data", second[: half // 2], half)
    yield Variant(
        "13d_the_last_one_cut_off", riff(fmt(), chunk(b"data", first), cut), share=0.75, warning="has 1.5 of the 2"
    )
    yield Variant("30_FLAC_joined", encoded("FLAC", "PCM_16") * 2, times=2)
    yield Variant("31_Ogg_joined", encoded("OGG", "VORBIS") * 2, times=2, likeness=0.95)
    yield Variant("31b_Opus_joined", encoded("OGG", "OPUS", 48_000) * 2, times=2, likeness=0.9)
    yield Variant("32_MP3_joined", encoded("MP3", "MPEG_LAYER_III") * 2, times=2, likeness=0.95)
    yield Variant("33_AU_joined", encoded("AU", "PCM_16") * 2, times=2)
    yield Variant("34_CAF_joined", encoded("CAF", "PCM_16") * 2, times=2)
    yield Variant("35_ADPCM_joined", encoded("WAV", "IMA_ADPCM") * 2, times=2, likeness=0.98)


def chunks() -> Iterator[Variant]:
    """Yield WAVs with other chunks, and other faults of chunks."""
    pcm = reference()
    odd = b"LIST\x05\0\0\0abcde"
    yield Variant("06_LIST_first", riff(chunk(b"LIST", b"INFOISFT\x04\0\0\0abcd"), fmt(), chunk(b"data", pcm)))
    yield Variant("07_odd_chunk_padded", riff(fmt(), odd + b"\0", chunk(b"data", pcm)))
    yield Variant("08_odd_chunk_not_padded", riff(fmt(), odd, chunk(b"data", pcm)))
    yield Variant("08b_two_of_them", riff(odd, fmt(), odd, chunk(b"data", pcm)))
    yield Variant(
        "09_bext_and_id3", riff(chunk(b"bext", bytes(602)), fmt(), chunk(b"data", pcm), chunk(b"id3 ", bytes(99)))
    )
    yield Variant("10_LIST_last", wav(None, None, chunk(b"LIST", b"INFOISFT\x04\0\0\0abcd")))
    yield Variant("11_fmt_of_18_bytes", wav(extra=bytes(2)))
    yield Variant("11b_fmt_of_40_bytes", wav(form=0xFFFE, extra=extensible(1, 16)))
    yield Variant("12_an_unknown_chunk", riff(chunk(b"abcd", bytes(77)), fmt(), chunk(b"data", pcm)))
    yield Variant("14_ID3v1_at_the_end", wav() + b"TAG" + bytes(125))
    yield Variant("14b_zeros_at_the_end", wav() + bytes(512), likeness=0.999)
    yield Variant("15_RF64", rf64())
    yield Variant("15b_BW64", rf64(magic=b"BW64"))
    yield Variant("16_RIFX", riff(fmt(order=">"), chunk(b"data", swapped(), order=">"), magic=b"RIFX", order=">"))
    yield Variant("16b_RIFX_size_0", riff(fmt(order=">"), chunk(b"data", swapped(), 0, ">"), magic=b"RIFX", order=">"))
    yield Variant("17_wrong_byte_rate", wav().replace(struct.pack("<I", 2 * RATE_HZ), b"\0\0\0\0", 1))
    yield Variant("18_wrong_riff_size", riff(fmt(), chunk(b"data", pcm), size=12))


def codings() -> Iterator[Variant]:
    """Yield forms of samples."""
    values = samples()
    pcm = np.frombuffer(reference(), "<i2")
    yield Variant("20_16_bits", wav())
    yield Variant("21_8_bits", wav(((pcm >> 8) + 128).astype("u1").tobytes(), bits=8), likeness=0.99)
    yield Variant("21b_24_bits", encoded("WAV", "PCM_24"))
    yield Variant("21c_32_bits", encoded("WAV", "PCM_32"))
    yield Variant("21d_24_bits_extensible", encoded("WAVEX", "PCM_24"))
    yield Variant("22_12_bits_in_2", wav((pcm & ~15).astype("<i2").tobytes(), bits=12, align=2), likeness=0.999)
    yield Variant("22b_20_bits_in_3", wav(audioop.lin2lin(reference(), 2, 3), bits=20, align=3))
    yield Variant("23_24_bits_in_4_high", wav(in_four_bytes(True), bits=24, align=4))
    yield Variant("23b_24_bits_in_4_low_as_ALSA", wav(in_four_bytes(False), bits=24, align=4))
    low = np.frombuffer(in_four_bytes(False), "<u4") & 0xFFFFFF
    yield Variant("23c_24_bits_in_4_low_without_sign", wav(low.astype("<u4").tobytes(), bits=24, align=4))
    yield Variant(
        "23d_24_of_32_bits_extensible", wav(in_four_bytes(True), form=0xFFFE, bits=32, extra=extensible(1, 24))
    )
    yield Variant("24_float", encoded("WAV", "FLOAT"))
    yield Variant("24b_double", encoded("WAV", "DOUBLE"))
    yield Variant("24c_float_extensible", encoded("WAVEX", "FLOAT"))
    yield Variant("24d_float_of_a_pipe", wav(values.astype("<f4").tobytes(), 0xFFFFFFFF, form=3, bits=32))
    holes = values.astype("<f4").copy()
    holes[100], holes[200] = np.nan, np.inf
    yield Variant("24e_float_with_NaN", wav(holes.tobytes(), form=3, bits=32), likeness=0.99)
    yield Variant(
        "24f_float_beyond_full_scale", wav((values * 8).astype("<f4").tobytes(), form=3, bits=32), likeness=0.8
    )
    big = chunk(b"data", values.astype(">f4").tobytes(), order=">")
    yield Variant("24g_float_big_endian", riff(fmt(3, bits=32, order=">"), big, magic=b"RIFX", order=">"))
    yield Variant("25_mu-law", wav(audioop.lin2ulaw(reference(), 2), form=7, bits=8), likeness=0.99)
    yield Variant("25b_A-law", wav(audioop.lin2alaw(reference(), 2), form=6, bits=8), likeness=0.99)
    yield Variant("25c_mu-law_8_kHz", encoded("WAV", "ULAW", 8000), likeness=0.95)
    yield Variant("25d_mu-law_size_0", wav(audioop.lin2ulaw(reference(), 2), 0, form=7, bits=8), likeness=0.99)
    yield Variant("26_IMA_ADPCM", encoded("WAV", "IMA_ADPCM"), likeness=0.98)
    yield Variant("26b_MS_ADPCM", encoded("WAV", "MS_ADPCM"), likeness=0.98)
    yield Variant("26c_GSM", encoded("WAV", "GSM610", 8000), likeness=0.85)
    yield Variant(
        "26d_ADPCM_cut_in_half", half_of(encoded("WAV", "IMA_ADPCM")), share=0.5, likeness=0.98, warning="of the 2.0 s"
    )
    adpcm = encoded("WAV", "IMA_ADPCM", repeats=2)
    at = adpcm.index(b"data") + 4
    first = adpcm[:at] + struct.pack("<I", 8192) + adpcm[at + 4 :]
    yield Variant(
        "26e_ADPCM_with_the_size_of_its_first_block", first, share=0.5, likeness=0.98, warning="were not read"
    )
    for rate_hz in (8_000, 11_025, 22_050, 44_100, 48_000, 96_000):
        yield Variant(f"27_{rate_hz}_Hz", encoded("WAV", "PCM_16", rate_hz), likeness=0.95)


def channels() -> Iterator[Variant]:
    """Yield files of several channels."""
    yield Variant("40_stereo", wav(stereo(1, 1), channels=2), likeness=0.999)
    yield Variant("41_stereo_left_only", wav(stereo(1, 0), channels=2), likeness=0.999)
    yield Variant("42_stereo_antiphase", wav(stereo(1, -1), channels=2), likeness=0.999)
    yield Variant("42b_antiphase_and_softer", wav(stereo(0.9, -1), channels=2), likeness=-1)
    yield Variant("42c_FLAC_antiphase", encoded("FLAC", "PCM_16", signs=(1, -1)), likeness=0.999)
    yield Variant("43_six_channels", encoded("WAV", "PCM_16", signs=(1,) * 6), likeness=0.999)
    yield Variant("44_65535_channels", wav(channels=65_535, align=0), refused="65535 channels.*convert it: ffmpeg")
    yield Variant("44b_no_channel", wav(channels=0), refused="0 channels.*convert it: ffmpeg")


def others() -> Iterator[Variant]:
    """Yield files that are no WAV."""
    yield Variant("50_FLAC", encoded("FLAC", "PCM_16"))
    yield Variant("50b_FLAC_24_bits_48_kHz_stereo", encoded("FLAC", "PCM_24", 48_000, (1, 1)), likeness=0.99)
    yield Variant("50c_FLAC_of_a_pipe", of_unknown_length(encoded("FLAC", "PCM_16")))
    yield Variant("50d_FLAC_cut_in_half", half_of(encoded("FLAC", "PCM_16")), share=0, warning="of the 2.0 s")
    flac = encoded("FLAC", "PCM_16")
    short = flac[:22] + struct.pack(">I", 8000) + flac[26:]
    yield Variant("50e_FLAC_with_more_than_it_says", short, share=0.25, warning="were not read")
    yield Variant("51_Ogg_Vorbis", encoded("OGG", "VORBIS"), likeness=0.95)
    yield Variant("51b_Ogg_Opus", encoded("OGG", "OPUS", 48_000), likeness=0.9)
    yield Variant(
        "51c_Ogg_cut_in_half",
        half_of(encoded("OGG", "VORBIS", repeats=4)),
        times=2,
        share=0,
        likeness=0.95,
        warning="its end is missing",
    )
    pages = page_starts(vorbis := encoded("OGG", "VORBIS"))
    first, last = (vorbis[: at + 99] + b"damaged" + vorbis[at + 106 :] for at in (pages[2], pages[-1]))
    yield Variant(
        "51d_Ogg_damaged_at_its_beginning", first, share=0.61, likeness=-1, warning="its beginning is damaged"
    )
    yield Variant("51e_Ogg_damaged_at_its_end", last, share=0.8, likeness=0.95, warning="its end is missing")
    short = vorbis[: pages[2] + 99] + vorbis[pages[2] + 199 :]
    yield Variant(
        "51f_Ogg_with_a_hole_at_its_beginning", short, share=0.61, likeness=-1, warning="beginning is damaged"
    )
    yield Variant("52_MP3", encoded("MP3", "MPEG_LAYER_III"), likeness=0.95)
    yield Variant("52b_MP3_44100_Hz_stereo", encoded("MP3", "MPEG_LAYER_III", 44_100, (1, 1)), likeness=0.95)
    yield Variant(
        "52c_MP3_with_ID3", b"ID3\4\0\0\0\0\0\x0a" + bytes(10) + encoded("MP3", "MPEG_LAYER_III"), likeness=0.95
    )
    yield Variant(
        "52d_MP3_cut_in_half", half_of(encoded("MP3", "MPEG_LAYER_III")), share=0, likeness=0.95, warning="of the 2.0 s"
    )
    dense = np.concatenate([np.random.default_rng(1).normal(0, 0.3, RATE_HZ), samples(), np.zeros(3 * RATE_HZ)])
    bare = without_length(vbr := varying_mp3(dense))
    yield Variant("52e_MP3_of_varying_rate_that_does_not_say_its_length", bare, times=3, share=1, likeness=-1)
    yield Variant("52f_MP3_that_goes_on_after_its_length", vbr + bare, times=3, likeness=-1, warning="were not read")
    yield Variant("53_AIFF", encoded("AIFF", "PCM_16"))
    yield Variant("53b_AIFF_cut_in_half", half_of(encoded("AIFF", "PCM_16")), share=0.5, warning="of the 2.0 s")
    yield Variant("54_AU", encoded("AU", "PCM_16"))
    yield Variant("54b_AU_mu-law_8_kHz", encoded("AU", "ULAW", 8000), likeness=0.95)
    yield Variant("54c_AU_cut_in_half", half_of(encoded("AU", "PCM_16")), share=0.5, warning="of the 2.0 s")
    au = encoded("AU", "PCM_16")
    yield Variant("54d_AU_of_a_pipe", au[:8] + b"\xff" * 4 + au[12:])
    yield Variant(
        "54e_AU_with_the_size_of_its_first_block", au[:8] + b"\0\0\x3e\x80" + au[12:], share=0.25, warning="not read"
    )
    yield Variant("54f_AU_with_size_0", au[:8] + bytes(4) + au[12:], refused="announces no audio, but has.*ffmpeg")
    yield Variant("55_CAF", encoded("CAF", "PCM_16"))
    yield Variant("55b_CAF_ALAC", encoded("CAF", "ALAC_16"))
    yield Variant("56_W64", encoded("W64", "PCM_16"))
    yield Variant("57_VOC", encoded("VOC", "PCM_16"))
    yield Variant("57b_VOC_cut_in_half", half_of(encoded("VOC", "PCM_16")), share=0.5, warning="its end is missing")
    yield Variant("58_NIST", encoded("NIST", "PCM_16"))


def refused() -> Iterator[Variant]:
    """Yield what is no sound, or sound that only others read."""
    convert = "convert it: ffmpeg -i .*-ar 16000"
    yield Variant("60_empty", b"", refused="is empty: record it again")
    yield Variant("61_text", b"Dear reader,\nthis is no sound.\n" * 9, refused="looks like text.: give a WAV, FLAC")
    yield Variant("62_noise", bytes(range(7, 256)) * 4, refused="is no sound file: give a WAV, FLAC")
    yield Variant("63_m4a", b"\0\0\0\x20ftypM4A " + bytes(500), refused=f"M4A or MP4.*{convert}")
    yield Variant("63b_m4a_of_8_bytes", b"\0\0\0\x08ftyp", refused="it has only 8 bytes: give a WAV")
    yield Variant("64_AMR", b"#!AMR\n" + bytes(500), refused=f"AMR.*{convert}")
    yield Variant("64b_AMR_WB", b"#!AMR-WB\n" + bytes(500), refused=f"AMR.*{convert}")
    yield Variant("65_AAC", b"\xff\xf1\x50\x80" + bytes(500), refused=f"AAC.*{convert}")
    yield Variant("66_WebM", b"\x1a\x45\xdf\xa3" + bytes(500), refused=f"WebM.*{convert}")
    yield Variant("67_WMA", b"\x30\x26\xb2\x75\x8e\x66\xcf\x11" + bytes(500), refused=f"WMA.*{convert}")
    yield Variant("68_Ogg_of_another_codec", b"OggS\0\x02" + bytes(22) + b"\x01\x08Speex   " + bytes(500),
                  refused=f"Ogg sound that cannot be read.*{convert}")  # fmt: skip
    yield Variant("69_header_only", wav(b""), refused="no audio in it")
    yield Variant("69b_cut_in_the_header", wav()[:30], refused="is cut off before its audio")
    yield Variant("69c_FLAC_header_only", encoded("FLAC", "PCM_16")[:60], refused="cannot be read|no audio")
    yield Variant("70_1_Hz", wav(rate_hz=1), refused="1 Hz.*convert it")
    yield Variant("71_an_unknown_coding", wav(form=0x1234), refused=f"format 4660.*{convert}")
    yield Variant("72_PNG", b"\x89PNG\r\n\x1a\n" + bytes(500), refused="is no sound file: give a WAV")
    yield Variant("73_ZIP", b"PK\3\4" + bytes(500), refused="is no sound file: give a WAV")


def page_starts(ogg: bytes) -> list[int]:
    return [match.start() for match in re.finditer(b"OggS\\0", ogg)]


def half_of(data: bytes) -> bytes:
    return data[: len(data) // 2]


def varying_mp3(values: "np.ndarray[Any, Any]") -> bytes:
    out = io.BytesIO()
    options = {"bitrate_mode": "VARIABLE", "compression_level": 0.7}
    with soundfile.SoundFile(out, "w", RATE_HZ, 1, "MPEG_LAYER_III", format="MP3", **options) as file:
        file.write(values)
    return out.getvalue()


def without_length(mp3: bytes) -> bytes:
    """Return an MP3 without its first frame, which says how many follow."""
    return mp3[mp3.index(mp3[:2], 4) :]


def of_unknown_length(flac: bytes) -> bytes:
    """Return a FLAC whose header says 0 samples, as an encoder writes it that cannot go back."""
    header = bytearray(flac)
    header[21] &= 0xF0
    header[22:26] = bytes(4)
    return bytes(header)


VARIANTS = [*unfinished(), *joined(), *chunks(), *codings(), *channels(), *others(), *refused()]
