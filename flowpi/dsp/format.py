"""The one format of sound inside flowpi: PCM, int16 little-endian, mono, 16 kHz.

Both services ask for it, and the embedded recogniser hears it.
"""

RATE_HZ = 16_000
FRAME_BYTES = 2
BYTES_PER_S = RATE_HZ * FRAME_BYTES
