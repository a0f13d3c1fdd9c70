"""One open sound file -> (C, t) float32 blocks: whatever its format, mixed, resampled, and held to its header."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ossicle.audio import container
from ossicle.audio.errors import AudioError, Stage
from ossicle.audio.opening import open_regular, told
from ossicle.audio.resample import Part, cut, part, resampled
from ossicle.audio.splice import Spliced
from ossicle.audio.waves import implausible, opposed

FORMATS = ("WAV", "WAVEX", "RF64", "FLAC", "OGG", "MP3", "AIFF")
SUBTYPES = (
    *("PCM_S8", "PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW", "IMA_ADPCM", "MS_ADPCM"),
    *("VORBIS", "OPUS", "MPEG_LAYER_I", "MPEG_LAYER_II", "MPEG_LAYER_III"),
)
MIXED = "more than two channels: mixed into one"
_LOWEST, _HIGHEST = 1_000, 1_000_000
_CHANNELS = 32
_HEAD = 10.0  # seconds by which channels are judged to cancel
_STRETCH = 1 << 22  # samples decoded at a time, all channels together: 16 MiB
_DENSEST = 10_000  # samples a byte: a FLAC of silence reaches 6,000, so more is a decoder that does not stop
_LEAD = 16 * 1152  # samples: an MP3 frame's bits may lie up to 511 bytes back, eight frames of the lowest rate
_GRACE = {"MP3": 2 * 1152}  # samples: encoders count the frame of the tag itself, or the one of the delay, or neither

Watch = Callable[[np.ndarray], None]
Mixer = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class AudioInfo:
    """What a file is: `sample_rate` in Hz, `frames` a channel, `format` and `subtype` in libsndfile's words."""

    path: Path
    sample_rate: int
    channels: int
    frames: int
    format: str
    subtype: str

    @property
    def seconds(self) -> float:
        """Duration."""
        return self.frames / self.sample_rate


class Sound:
    """One open sound file: `info` is its header, `fault` how it falls short of that ("": whole), `notes` what is odd.

    A context manager. AudioError if it cannot be opened or is of no kind that is read here.
    """

    def __init__(self, path: str | os.PathLike[str]):
        self.path = Path(path)
        self.notes: list[str] = []
        self._head: np.ndarray | None = None
        self._file, self.size = open_regular(self.path)
        try:
            self._decoder, self.info = self._start()
            self._admit()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Sound:
        return self

    def __exit__(self, *_: object) -> None:
        self._decoder.close()
        self._file.close()

    @property
    def known(self) -> bool:
        """Whether the header tells the number of samples."""
        return self.info.frames < container.FLAC_UNKNOWN

    def blocks(
        self,
        *,
        sample_rate: int | None = None,
        channels: str | int = "mix",
        start: float = 0.0,
        stop: float | None = None,
        seconds: float = 10.0,
        watch: Watch | None = None,
    ) -> Iterator[np.ndarray]:
        """(C, t) float32 blocks made of about `seconds` each, of the whole or of `start` to `stop` (see `read`).

        `watch` sees every stretch as it was decoded, (C, t) before mixing and resampling.
        """
        rate = self.info.sample_rate
        target = sample_rate or rate
        span = part(start, stop, rate, target)
        if span.first >= self.info.frames > 0:
            raise self._error(f"asked for from {start:g} s on, but it ends at {self.info.seconds:g} s", "check")
        mix = self._mixer(channels)
        native = (mix(piece) for piece in self._native(span, seconds, watch))
        empty = True
        for block in cut(resampled(native, rate, target), span.skip, span.length):
            empty = False
            yield np.ascontiguousarray(block.T)
        if empty:
            raise self._error(f"too short for a single sample at {target} Hz", "check")

    def _start(self) -> tuple[Any, AudioInfo]:
        import soundfile

        try:
            header = container.look(self._file, self.size)
        except container.Refused as error:
            raise self._error(str(error), "open") from None
        except OSError as error:
            raise self._error(told(error), "open") from error
        self.fault = header.fault
        self.notes += header.notes
        self._bytes = Spliced(self._file, self.size, header.head, header.at)
        try:
            found = soundfile.SoundFile(self._bytes)
        except (soundfile.LibsndfileError, RuntimeError) as error:
            raise self._gave_up(error, "open", "its header cannot be understood") from error
        found.seekable = lambda: False  # soundfile seeks after every read otherwise, which streamed FLAC cannot do
        about = found.samplerate, found.channels, found.frames, found.format, found.subtype
        return found, AudioInfo(self.path, *about)

    def _admit(self) -> None:
        info = self.info
        if info.format not in FORMATS or info.subtype not in SUBTYPES:
            raise self._error(f"{info.format} with {info.subtype} samples is not read here: convert it to FLAC", "open")
        if not _LOWEST <= info.sample_rate <= _HIGHEST:
            raise self._error(f"a sample rate of {info.sample_rate} Hz; between 1 kHz and 1 MHz was wanted", "open")
        if info.channels > _CHANNELS:
            raise self._error(f"{info.channels} channels; at most {_CHANNELS} are read", "open")

    def _native(self, span: Part, seconds: float, watch: Watch | None) -> Iterator[np.ndarray]:
        """A part's frames as they are, (t, C), then a check that no fewer came than were promised."""
        position, stop = span.first, min(span.last or self.info.frames, self.info.frames)
        for piece in self._pieces(position, stop, seconds):
            position += len(piece)
            if watch:
                watch(piece.T)
            yield piece
        if self.fault and (span.last is None or position < span.last):
            raise self._error(self.fault, "check")
        if self.known and position < stop - _GRACE.get(self.info.format, 0):
            came = f"truncated: its header promises {self.info.frames} samples and {position} came out"
            raise self._error(came, "check")
        if position == span.first:
            where = f" from {position / self.info.sample_rate:g} s on" if position else ""
            raise self._error(f"0 samples{where}", "check")

    def _pieces(self, position: int, stop: int, seconds: float) -> Iterator[np.ndarray]:
        size = self._size(seconds)
        if position == 0 and self._head is not None:
            head, self._head = self._head[:stop], None
            position = len(head)
            yield from (head[at : at + size] for at in range(0, len(head), size))
        if position < stop:
            self._seek(position)
        while position < stop and len(piece := self._take(min(size, stop - position), position)):
            position += len(piece)
            yield piece

    def _size(self, seconds: float) -> int:
        """Frames of a stretch: `seconds`, but no more than a bounded number of samples."""
        return max(1, min(int(seconds * self.info.sample_rate), _STRETCH // self.info.channels))

    def _seek(self, position: int) -> None:
        """Makes `position` the next frame, with a decoder that knows what an MP3's earlier frames have kept for it."""
        import soundfile

        lead = min(position, _LEAD if self.info.format == "MP3" else 0)
        try:
            if self._decoder.tell() == position:
                return
            self._decoder.seek(position - lead)
        except (soundfile.LibsndfileError, RuntimeError) as error:
            raise self._gave_up(error, "decode", f"cannot go to {position / self.info.sample_rate:.3g} s") from error
        if lead:
            self._take(lead, position - lead)

    def _take(self, count: int, position: int) -> np.ndarray:
        """The next `count` frames or what is left of them, (t, C), every sample finite and of a plausible level."""
        import soundfile

        try:
            piece = self._decoder.read(count, dtype="float32", always_2d=True)
        except (soundfile.LibsndfileError, RuntimeError) as error:
            where = f" behind {position / self.info.sample_rate:.3g} s" if position else ""
            raise self._gave_up(error, "decode", f"damaged or truncated{where}") from error
        if self._bytes.error is not None:
            raise self._error(told(self._bytes.error), "decode") from self._bytes.error
        if position + len(piece) > _DENSEST * self.size:
            raise self._error(f"damaged: more than {_DENSEST} samples came out of every byte", "decode")
        wrong = implausible(piece.T, position, self.info.sample_rate)
        if wrong:
            raise self._error(wrong, "check")
        return piece

    def _mixer(self, channels: str | int) -> Mixer:
        """(t, C) -> (t, the channels asked for)."""
        have = self.info.channels
        if channels == "first":
            return lambda piece: piece[:, :1]
        if channels == "mix" or channels == 1:
            return self._mean()
        if not isinstance(channels, int) or channels < 1:
            raise ValueError(f"channels is 'mix', 'first' or a number, not {channels!r}")
        if have == channels:
            return lambda piece: piece
        if have == 1:
            return lambda piece: np.repeat(piece, channels, axis=1)
        raise self._error(
            f"{have} channels where {channels} were wanted: read it with channels='mix' or 'first'", "check"
        )

    def _mean(self) -> Mixer:
        """The mean of all channels, or the loudest one where they cancel in the first ten seconds."""
        have = self.info.channels
        if have == 1:
            return lambda piece: piece
        if have > 2 and MIXED not in self.notes:
            self.notes.append(MIXED)
        self._seek(0)
        self._head = self._take(self._size(_HEAD), 0)
        loudest = opposed(self._head.T)
        if loudest is not None:
            return lambda piece: piece[:, loudest : loudest + 1]
        return _summed

    def _error(self, reason: str, stage: Stage) -> AudioError:
        return AudioError(self.path, reason, stage)

    def _gave_up(self, error: Exception, stage: Stage, sentence: str) -> AudioError:
        """The decoder's complaint, or what lies below it: an I/O error, or a file that the header already found cut."""
        if self._bytes.error is not None:
            failed = self._error(told(self._bytes.error), stage)
            failed.__cause__ = self._bytes.error
            return failed
        if self.fault:
            return self._error(self.fault, "check")
        words = getattr(error, "error_string", str(error)).removeprefix("Error : ").rstrip(". \n")
        hint = " (an impossible sample rate or number of channels)" if "SF_INFO" in words else ""
        return self._error(f"{sentence}{hint}: {words}", stage)


def _summed(piece: np.ndarray) -> np.ndarray:
    """(t, C) -> (t, 1), added channel by channel so that the last bit does not depend on how the sound was cut."""
    total = piece[:, :1].copy()
    for channel in range(1, piece.shape[1]):
        total += piece[:, channel : channel + 1]
    return total / np.float32(piece.shape[1])
