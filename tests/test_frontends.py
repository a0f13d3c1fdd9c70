"""Front ends against librosa, against closed forms, and against themselves in their two forms."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor

from ossicle.frontends import FRONTENDS, Bands, ClipMel, LogMel, Resized, VGGishMel
from ossicle.frontends.logmel import filterbank, hz_to_mel, mel_to_hz, packed

GOLDEN = dict(np.load(Path(__file__).parent / "goldens" / "librosa.npz"))
CASES: dict[str, dict[str, Any]] = json.loads(str(GOLDEN["cases"]))
RATE = 22050
SMALL = {
    "logmel": LogMel(seconds=0.5),
    "decibels": LogMel(seconds=0.5, log="db", power=1.0, scale="htk", norm=None, offset=1e-5),
    "speech": LogMel(sample_rate=16000, seconds=0.5, n_fft=512, win=400, hop=160, center=False, log="log10"),
    "bands": Bands(seconds=0.5),
}


def noise(*shape: int, seed: int = 0) -> Tensor:
    return 0.3 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def golden_wave() -> Tensor:
    return torch.from_numpy(GOLDEN["wave"])[None, None]


def apart(ours: Tensor, theirs: Tensor) -> float:
    """The largest difference, relative to the peak."""
    return float((ours.double() - theirs.double()).abs().max() / theirs.abs().max())


@pytest.mark.parametrize("name", CASES)
def test_the_filter_bank_is_librosas(name: str) -> None:
    case = {key: CASES[name][key] for key in ("n_fft", "mels", "f_min", "f_max", "scale", "norm")}
    assert apart(filterbank(RATE, **case), torch.from_numpy(GOLDEN[f"{name}.bank"])) < 1e-7


@pytest.mark.parametrize("form", ["fft", "exportable"])
@pytest.mark.parametrize("name", CASES)
def test_log_mel_is_librosas(name: str, form: str) -> None:
    frontend = LogMel(sample_rate=RATE, seconds=0.25, offset=1e-6, **CASES[name])
    module = frontend if form == "fft" else frontend.exportable()
    image = module(golden_wave())[0, 0, 0].double()
    theirs = torch.from_numpy(GOLDEN[f"{name}.mel"]).double()
    assert image.shape == theirs.shape
    assert apart(image.exp() - 1e-6, theirs) < (1e-6 if form == "fft" else 1e-5)
    loud = theirs > 1e-4 * theirs.max()
    assert (image - (theirs + 1e-6).log())[loud].abs().max() < 1e-3


@pytest.mark.parametrize(("name", "offset"), [("default", 1e-5), ("htk", 1e-3)])
def test_decibels_are_librosas(name: str, offset: float) -> None:
    image = LogMel(sample_rate=RATE, seconds=0.25, log="db", offset=offset, **CASES[name])(golden_wave())
    theirs = torch.from_numpy(GOLDEN[f"{name}.db"])
    assert float(image.min()) == pytest.approx(20 / CASES[name].get("power", 2.0) * math.log10(offset), rel=1e-6)
    assert (image[0, 0, 0] - theirs).abs().max() < 1e-3


def test_bands_are_thirds_of_librosas_spectrum() -> None:
    image = Bands(seconds=0.25, sample_rate=RATE)(golden_wave())[0, 0]
    power = torch.from_numpy(GOLDEN["bands"]).unflatten(0, (3, 341)).double()
    assert image.shape == power.shape
    assert apart(10 ** (image.double() / 10), power) < 1e-6


def test_published_sizes() -> None:
    bands = Bands()
    assert (bands.maps, bands.bins, bands.frames(220_500), bands.frames(176_400)) == (3, 341, 394, 315)
    assert LogMel(n_fft=2048, win=660, hop=220).frames(22_050) == 101
    vggish = LogMel(sample_rate=16000, seconds=0.96, n_fft=512, win=400, hop=160, center=False)
    assert vggish.frames(15_360) == 94


@pytest.mark.parametrize("scale", ["slaney", "htk"])
def test_mels_invert_and_meet_their_definitions(scale: Any) -> None:
    hz = torch.linspace(0, 20000, 977, dtype=torch.float64)
    assert torch.allclose(mel_to_hz(hz_to_mel(hz, scale), scale), hz, rtol=1e-12, atol=1e-9)
    anchor = {"slaney": ([1000.0, 6400.0], [15.0, 42.0]), "htk": ([0.0, 6300.0], [0.0, 2595.0])}[scale]
    assert torch.allclose(hz_to_mel(torch.tensor(anchor[0]).double(), scale), torch.tensor(anchor[1]).double())


def test_a_packed_bank_unpacks_to_itself() -> None:
    bank = filterbank(16000, 512, 40, 20.0, 8000.0, "htk", "slaney")
    band, weights = packed(bank)
    rebuilt = torch.zeros(41, 257, dtype=torch.float64).scatter(0, torch.stack([band, band + 1]), weights)
    assert torch.equal(rebuilt[:40], bank)


@pytest.mark.parametrize("scale", ["slaney", "htk"])
def test_a_tone_lights_its_own_band(scale: Any) -> None:
    frontend = LogMel(seconds=0.5, n_fft=2048, hop=512, mels=48, scale=scale, norm=None)
    low, high = hz_to_mel(torch.tensor([50.0, RATE / 2], dtype=torch.float64), scale)
    centers = mel_to_hz(torch.linspace(float(low), float(high), 50, dtype=torch.float64), scale)[1:-1]
    time = torch.arange(RATE // 2, dtype=torch.float64) / RATE
    image = frontend(torch.sin(2 * math.pi * centers[:, None] * time).float()[:, None])
    middle = image[:, 0, 0, :, image.shape[-1] // 2]
    assert torch.equal(middle.argmax(1), torch.arange(48))


@pytest.mark.parametrize("bin_", [3, 340, 341, 700, 1020])
def test_a_tone_lights_its_own_color(bin_: int) -> None:
    time = torch.arange(22050, dtype=torch.float64)
    tone = torch.sin(2 * math.pi * bin_ / 2048 * time).float()
    image = Bands(seconds=0.5)(tone[None, None])[0, 0, :, :, 20]
    assert int(image.flatten().argmax()) == bin_


@pytest.mark.parametrize("name", ["logmel", "speech"])
def test_both_forms_agree_in_log_units(name: str) -> None:
    """1e-5 of the peak P moves log(E + offset) by at most about 1e-5 P / (E + offset): 1 % of a neper 30 dB below P."""
    frontend = SMALL[name]
    wave = noise(3, 2, 11025)
    fast, exportable = frontend(wave), frontend.exportable()(wave)
    base = math.e if frontend.log == "ln" else 10.0
    energy = base ** fast.double()
    bound = 1e-5 * energy.max() / energy / math.log(base)
    assert ((exportable - fast).abs() <= bound).all()


def test_moving_a_wave_by_a_hop_moves_its_image_by_a_frame() -> None:
    frontend, wave = SMALL["speech"], noise(1, 1, 8000)
    moved = frontend(wave[..., 160:])
    assert torch.allclose(moved, frontend(wave)[..., 1 : 1 + moved.shape[-1]], atol=1e-5)


@pytest.mark.parametrize("form", ["fft", "exportable"])
@pytest.mark.parametrize("name", SMALL)
def test_no_wave_gives_nan_or_infinity(name: str, form: str) -> None:
    module = SMALL[name] if form == "fft" else SMALL[name].exportable()
    length = round(SMALL[name].seconds * SMALL[name].sample_rate)
    impulse = torch.zeros(length)
    impulse[length // 2] = 5.0
    waves = [
        torch.zeros(length),
        torch.full((length,), 1e-40),
        torch.full((length,), 0.5),
        torch.full((length,), -5.0),
        impulse,
        5 * noise(length).sign(),
    ]
    assert torch.isfinite(module(torch.stack(waves)[:, None])).all()


@pytest.mark.parametrize("form", ["fft", "exportable"])
@pytest.mark.parametrize(
    ("name", "level"), [("logmel", math.log(1e-6)), ("decibels", -100.0), ("speech", -6.0), ("bands", -180.0)]
)
def test_silence_is_the_logarithm_of_the_offset(name: str, level: float, form: str) -> None:
    module = SMALL[name] if form == "fft" else SMALL[name].exportable()
    image = module(torch.zeros(1, 1, round(SMALL[name].seconds * SMALL[name].sample_rate)))
    assert torch.allclose(image, torch.tensor(level), rtol=1e-6)


def test_gain_is_a_factor_on_the_wave() -> None:
    wave = noise(1, 1, 11025)
    assert torch.equal(LogMel(seconds=0.5, gain=2.0)(wave), LogMel(seconds=0.5)(2 * wave))


@pytest.mark.parametrize("name", SMALL)
def test_a_row_is_heard_alone(name: str) -> None:
    frontend, wave = SMALL[name], noise(30, 2, 11025)
    image = frontend(wave)
    assert image.is_contiguous()
    for clip, channel in ((0, 0), (17, 1), (29, 1)):
        alone = frontend(wave[clip : clip + 1, channel : channel + 1])
        assert torch.allclose(alone[0, 0], image[clip, channel], atol=1e-4)


@pytest.mark.parametrize("name", SMALL)
def test_autocast_leaves_the_front_end_in_float32(name: str) -> None:
    wave = noise(1, 1, 22050)
    expected = SMALL[name](wave)
    with torch.autocast("cpu", torch.bfloat16):
        image = SMALL[name](wave)
    assert image.dtype == torch.float32
    assert torch.equal(image, expected)


@pytest.mark.parametrize("name", SMALL)
def test_nothing_is_learned(name: str) -> None:
    for module in (SMALL[name], SMALL[name].exportable()):
        assert module.state_dict() == {}
        assert list(module.parameters()) == []


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize("name", ["speech", "bands"])
def test_an_onnx_file_of_it_is_small_and_right(name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    frontend = SMALL[name]
    dynamic = {0: torch.export.Dim("batch"), 2: torch.export.Dim("samples", min=4096)}
    program = torch.onnx.export(
        frontend.exportable().eval(),
        (noise(2, 1, 22050),),
        dynamo=True,
        opset_version=18,
        optimize=False,
        dynamic_shapes={"wave": dynamic},
        input_names=["wave"],
        verbose=False,
    )
    path = tmp_path / "frontend.onnx"
    program.save(path)
    stored = sum(len(constant.raw_data) for constant in program.model_proto.graph.initializer)
    assert stored < 50_000
    assert path.stat().st_size < 250_000
    capfd.readouterr()
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for clips, length in ((1, 22050), (5, 22050), (2, 11111)):
        wave = noise(clips, 1, length, seed=clips)
        (image,) = session.run(None, {"wave": wave.numpy()})
        assert apart(*(10 ** (level.double() / 10) for level in (torch.from_numpy(image), frontend(wave)))) < 1e-5
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"win": 2000}, "does not fit n_fft = 1024"),
        ({"hop": 0}, "hop >= 1"),
        ({"pad_mode": "wrap"}, "known: reflect, constant"),
        ({"window": "kaiser"}, "unknown window 'kaiser'; known: hann"),
        ({"scale": "bark"}, "scale = 'bark'; known: slaney, htk"),
        ({"norm": "l2"}, "norm = 'l2'; known: slaney, none, None"),
        ({"power": 3.0}, "power = 3.0; known"),
        ({"log": "bel"}, "log = 'bel'; known"),
        ({"offset": 0.0}, "needs a positive one"),
        ({"mels": 0}, "wanted at least 1"),
        ({"headroom": 0.0}, "headroom = 0: silence is divided by it"),
        ({"f_max": 20000.0}, "wanted 0 <= f_min < f_max <= 11025"),
        ({"mels": 512}, "mel bands hold no frequency bin"),
        ({"seconds": 0.01}, "too short for a window of 1024"),
    ],
)
def test_bad_arguments_are_answered_in_sentences(arguments: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence.replace("(", r"\(")):
        LogMel(**arguments)


def test_a_too_short_wave_is_refused_in_a_sentence() -> None:
    with pytest.raises(ValueError, match="a wave of 500 samples is too short"):
        SMALL["logmel"](torch.zeros(1, 1, 500))


def test_the_table_holds_them() -> None:
    whole = {"logmel": LogMel, "bands": Bands, "clipmel": ClipMel, "vggish": VGGishMel}
    assert {**whole, "resized": Resized} == FRONTENDS


@pytest.mark.parametrize("mels", [1, 20, 96])
@pytest.mark.parametrize("power", [1.0, 2.0])
def test_training_multiplies_by_what_is_not_zero_of_the_filter_bank(mels: int, power: float) -> None:
    frontend = LogMel(n_fft=2048, mels=mels, power=power)
    spectrum = noise(3, 1025, 7).square()
    assert apart(frontend.painted(spectrum).exp(), frontend.picture(spectrum).exp()) < 1e-6
    outside = torch.ones_like(frontend.dense)
    for bands, bins in frontend.steps:
        outside[bands, bins] = 0
    assert (outside * frontend.dense).sum() == 0 < frontend.dense.sum()


PARTS = SMALL | {
    "leveled": LogMel(seconds=0.5, headroom=0.005, win=330),
    "silence around": LogMel(seconds=0.5, headroom=0.005, pad_mode="constant"),
}


@pytest.mark.parametrize("name", PARTS)
def test_a_part_of_a_clip_is_what_the_whole_of_it_has_there(name: str) -> None:
    frontend, wave = PARTS[name], 0.2 + noise(5, 2, 9000)
    whole = frontend(wave)
    last = whole.shape[-1] - 6
    start = torch.tensor([0, 1, 3, last - 1, last])
    part = frontend.part(wave, start, 6)
    wanted = torch.stack([clip[..., at : at + 6] for clip, at in zip(whole, start.tolist(), strict=True)])
    assert part.shape == wanted.shape
    assert apart(part, wanted) < 1e-5
    assert apart(frontend.part(wave, torch.zeros(5, dtype=torch.long), last + 6), whole) < 1e-5
