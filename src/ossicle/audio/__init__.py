"""A file or a stream -> (C, T) float32 at a given rate. The only room that opens audio; no torch.

    files.py      probe, read, blocks: from a path to samples
    sound.py      Sound: one open file, mixed, resampled, held to its header
    raw.py        read_raw: from a pipe to samples
    writing.py    write: from samples to a file of 16 bits
    waves.py      length policies, silence, and facts about samples
    resample.py   other rates, and where a part of a file lies on the whole's own grid
    container.py  what the bytes around the sound promise; mpeg.py: MP3's
    splice.py     a header mended in memory
    guano.py      what a recorder wrote beside the sound
    opening.py    regular files and nothing else; digest
    errors.py     AudioError

WAV, FLAC, Ogg (Vorbis and Opus), MP3 and AIFF of any rate, channel count and bit depth, told apart by content and never
by name. What cannot be read whole is an `AudioError` whose text is a sentence; nothing here returns samples that are
not finite, and nothing returns fewer samples than a header promised without saying so.
"""

from ossicle.audio.errors import AudioError, shown
from ossicle.audio.files import blocks, probe, read
from ossicle.audio.guano import guano
from ossicle.audio.opening import digest
from ossicle.audio.raw import read_raw
from ossicle.audio.sound import FORMATS, AudioInfo, Sound
from ossicle.audio.waves import Census, examine, fit, trim_silence, window_starts
from ossicle.audio.writing import write

__all__ = [
    "FORMATS",
    "AudioError",
    "AudioInfo",
    "Census",
    "Sound",
    "blocks",
    "digest",
    "examine",
    "fit",
    "guano",
    "probe",
    "read",
    "read_raw",
    "shown",
    "trim_silence",
    "window_starts",
    "write",
]
