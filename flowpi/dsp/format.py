"""The one form in which sound moves through flowpi: PCM, int16 little-endian, mono, 16 kHz.

What both services ask for, and what the embedded recogniser hears.
"""

RATE_HZ = 16_000
FRAME_BYTES = 2
BYTES_PER_S = RATE_HZ * FRAME_BYTES
