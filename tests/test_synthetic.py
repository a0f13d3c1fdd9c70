"""The made-up sounds: the same for the same seed, and told apart by time, not by their mean spectrum."""

import hashlib
import time
import wave

import numpy as np
import pytest

from ossicle.data import audit
from ossicle.data.intake import IntakeError, look_over
from ossicle.datasets import load
from ossicle.datasets.sounds import LENGTH, SAMPLE_RATE, SOUNDS, heard
from ossicle.datasets.synthetic import synthetic


@pytest.fixture(scope="session")
def sounds(tmp_path_factory):
    """(manifest, samples (n, T)) of 40 clips a class, and the seconds of processor time that making them took."""
    start = time.process_time()
    manifest = synthetic(tmp_path_factory.mktemp("sounds") / "set", per_class=40, unlabelled=10)
    taken = time.process_time() - start
    return manifest, np.stack([samples(clip.path) for clip in manifest.clips]), taken


def samples(path):
    with wave.open(str(path)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (SAMPLE_RATE, 1, 2)
        return np.frombuffer(file.readframes(file.getnframes()), "<i2") / 32768


def digest(manifest):
    return [hashlib.sha256(clip.path.read_bytes()).hexdigest() for clip in manifest.clips]


def test_what_is_made(sounds):
    manifest, waves, taken = sounds
    assert manifest.classes == tuple(SOUNDS)
    assert len(SOUNDS) == 10
    assert manifest.folds == (1, 2, 3, 4, 5)
    assert np.bincount(manifest.labelled().targets()).tolist() == [40] * 10
    assert sum(clip.fold is None and not clip.labelled for clip in manifest.clips) == 10
    assert waves.shape == (410, LENGTH)
    assert manifest.notes == ()
    assert taken < 10, f"{taken:.1f} s"


def test_samples_are_sound_and_never_clip(sounds):
    _, waves, _ = sounds
    assert np.abs(waves).max(1).min() > 0.03
    assert np.abs(waves).max() < 0.995
    assert np.abs(waves.mean(1)).max() < 0.01


def test_nothing_leaks_and_nothing_is_wrong(sounds):
    manifest, _, _ = sounds
    assert audit.by_recording(manifest) == []
    assert audit.by_content(manifest) == []
    for fold in manifest.folds:
        assert look_over(manifest, fold=fold, valid="next", batch=32) == []


def log_mel(waves, bands=64, n=1024, hop=512):
    """(B, T) -> (B, frames, bands): a plain triangle filter bank over Hann frames."""
    edges = 700 * (10 ** (np.linspace(*2595 * np.log10(1 + np.array([50, 8000]) / 700), bands + 2) / 2595) - 1)
    frequency = np.fft.rfftfreq(n, 1 / SAMPLE_RATE)[:, None]
    rise, fall = (frequency - edges[:-2]) / np.diff(edges)[:-1], (edges[2:] - frequency) / np.diff(edges)[1:]
    bank = np.maximum(0, np.minimum(rise, fall))
    frames = np.lib.stride_tricks.sliding_window_view(waves, n, axis=1)[:, ::hop]
    return np.stack([np.log(np.abs(np.fft.rfft(f * np.hanning(n))) ** 2 @ bank + 1e-6) for f in frames])


def test_a_linear_probe_on_the_mean_spectrum_fails(sounds):
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    manifest, waves, _ = sounds
    rows = [i for i, clip in enumerate(manifest.clips) if clip.labelled]
    mean, target = log_mel(waves[rows]).mean(1), manifest.select(rows).targets()
    folds = np.array([manifest.clips[i].fold for i in rows])
    right = 0
    for fold in manifest.folds:
        probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
        probe.fit(mean[folds != fold], target[folds != fold])
        right += int((probe.predict(mean[folds == fold]) == target[folds == fold]).sum())
    assert right / len(rows) < 0.7


def test_the_same_seed_gives_the_same_bytes(tmp_path):
    one, two = (synthetic(tmp_path / name, per_class=2, unlabelled=1) for name in "ab")
    assert digest(one) == digest(two)
    assert one.fingerprint() == two.fingerprint()
    other = synthetic(tmp_path / "c", per_class=2, unlabelled=1, seed=1)
    assert not set(digest(one)) & set(digest(other))
    assert len(set(digest(one))) == len(one)


def test_asking_for_more_clips_does_not_change_the_others(tmp_path):
    few, more = synthetic(tmp_path / "a", per_class=2), synthetic(tmp_path / "b", per_class=4)
    first = [i for i, clip in enumerate(more.clips) if clip.group.endswith("-0")]
    assert digest(few) == digest(more.select(first))


def test_what_is_there_is_not_made_again(tmp_path):
    made = synthetic(tmp_path / "set", per_class=1)
    before = made.clips[0].path.stat().st_mtime_ns
    assert synthetic(tmp_path / "set", per_class=1) == made
    assert made.clips[0].path.stat().st_mtime_ns == before
    with pytest.raises(IntakeError, match="give another folder"):
        synthetic(tmp_path / "set", per_class=2)


def test_a_making_that_was_stopped_is_done_again(tmp_path, monkeypatch):
    from ossicle.datasets import synthetic as module

    write, left = module._write, iter(range(5))
    monkeypatch.setattr(module, "_write", lambda *args: (next(left, None) is None and 1 / 0) or write(*args))
    with pytest.raises(ZeroDivisionError):
        synthetic(tmp_path / "set", per_class=1)
    monkeypatch.undo()
    assert len(synthetic(tmp_path / "set", per_class=1)) == 10


def test_other_peoples_files_are_left_alone(tmp_path):
    (tmp_path / "audio").mkdir()
    with pytest.raises(IntakeError, match="holds other files"):
        load(f"synthetic:{tmp_path}")


@pytest.mark.parametrize("label", SOUNDS)
def test_two_takes_of_a_source_share_its_room_and_differ_in_time(label):
    def take(source, number):
        rngs = np.random.default_rng(source), np.random.default_rng((1, number))
        return heard(SOUNDS[label](*rngs), *rngs)

    assert not np.allclose(take(0, 0), take(0, 1))
    assert not np.allclose(take(0, 0), take(1, 0))
    assert np.array_equal(take(0, 0), take(0, 0))
    assert np.isfinite(take(0, 0)).all()
    spent = []
    for number in range(3):
        source = np.random.default_rng(0)
        SOUNDS[label](source, np.random.default_rng((1, number)))
        spent.append(source.random())
    assert len(set(spent)) == 1, "a take must not change what is drawn from its source"
