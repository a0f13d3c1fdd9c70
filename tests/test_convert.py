"""Published weights: made-up files with the true keys and shapes, from the papers' tables; and beginning there."""

from __future__ import annotations

import hashlib
import json
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

import ossicle
from ossicle import assemble, checkpoint, cli, material, plan, train
from ossicle.convert import ConvertError, convert, fitted, recognize, unpack
from ossicle.data.cache import Cache
from ossicle.layouts import TORCHVISION
from ossicle.model import Backbone, load
from ossicle.recipe import RecipeError, Spec, from_dict

Shapes = dict[str, tuple[int, ...]]
BANDS = Spec("bands", {"sample_rate": 8000, "seconds": 0.5, "n_fft": 192, "win": 160, "hop": 100})
LOGMEL = Spec("logmel", {"sample_rate": 8000, "seconds": 0.4, "n_fft": 256, "hop": 128, "mels": 16})


def normalized(shapes: Shapes, norms: dict[str, int]) -> Shapes:
    """With the five tensors of each batch normalization."""
    shapes = dict(shapes)
    for name, size in norms.items():
        shapes |= {f"{name}.{part}": (size,) for part in ("weight", "bias", "running_mean", "running_var")}
        shapes[f"{name}.num_batches_tracked"] = ()
    return shapes


def resnet_shapes(depth: int) -> Shapes:
    """torchvision's keys of a ResNet and their shapes, `fc` included (He et al. 2016, table 1)."""
    layers = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3)}[depth]
    shapes: Shapes = {"conv1.weight": (64, 3, 7, 7)}
    norms, inputs = {"bn1": 64}, 64
    for layer, blocks in enumerate(layers, 1):
        channels = 32 * 2**layer
        for block in range(blocks):
            stem = f"layer{layer}.{block}"
            sizes = [(channels, inputs, 3), (channels, channels, 3)]
            if depth == 50:
                sizes = [(channels, inputs, 1), (channels, channels, 3), (4 * channels, channels, 1)]
            for number, (outputs, given, kernel) in enumerate(sizes, 1):
                shapes[f"{stem}.conv{number}.weight"] = (outputs, given, kernel, kernel)
                norms[f"{stem}.bn{number}"] = outputs
            if block == 0 and sizes[-1][0] != inputs:
                shapes[f"{stem}.downsample.0.weight"] = (sizes[-1][0], inputs, 1, 1)
                norms[f"{stem}.downsample.1"] = sizes[-1][0]
            inputs = sizes[-1][0]
    return normalized(shapes, norms) | {"fc.weight": (1000, inputs), "fc.bias": (1000,)}


def dense_shapes(layers: tuple[int, ...] = (6, 12, 24, 16), growth: int = 32) -> Shapes:
    """torchvision's keys of a DenseNet and their shapes, `classifier` included (Huang et al. 2017, table 1)."""
    channels = 2 * growth
    shapes: Shapes = {"features.conv0.weight": (channels, 3, 7, 7)}
    norms = {"features.norm0": channels}
    for block, count in enumerate(layers, 1):
        for layer in range(1, count + 1):
            stem = f"features.denseblock{block}.denselayer{layer}"
            norms |= {f"{stem}.norm1": channels, f"{stem}.norm2": 4 * growth}
            shapes[f"{stem}.conv1.weight"] = (4 * growth, channels, 1, 1)
            shapes[f"{stem}.conv2.weight"] = (growth, 4 * growth, 3, 3)
            channels += growth
        if block < len(layers):
            norms[f"features.transition{block}.norm"] = channels
            shapes[f"features.transition{block}.conv.weight"] = (channels // 2, channels, 1, 1)
            channels //= 2
    norms["features.norm5"] = channels
    return normalized(shapes, norms) | {"classifier.weight": (1000, channels), "classifier.bias": (1000,)}


KNOWN = {
    "ResNet-18": resnet_shapes(18),
    "ResNet-34": resnet_shapes(34),
    "ResNet-50": resnet_shapes(50),
    "DenseNet-121": dense_shapes(),
    "DenseNet-161": dense_shapes((6, 12, 36, 24), 48),
    "DenseNet-169": dense_shapes((6, 12, 32, 32)),
    "DenseNet-201": dense_shapes((6, 12, 48, 32)),
}


def made_up(shapes: Shapes) -> dict[str, torch.Tensor]:
    """Each tensor holds one number of its own, once: files stay small, and a tensor in a wrong place shows."""
    numbers = np.random.default_rng(0).uniform(0.5, 1.5, len(shapes))
    return {
        name: torch.tensor(7) if not shape else torch.tensor(number, dtype=torch.float32).expand(shape)
        for (name, shape), number in zip(shapes.items(), numbers, strict=True)
    }


def written(path: Path, content: object) -> Path:
    torch.save(content, path)
    return path


def taken(content: object) -> tuple[dict[str, torch.Tensor], list[str]]:
    """What `convert` would give the encoder, and its notes, without a file."""
    tensors, notes = unpack(content, Path("file"))
    return fitted(tensors, recognize(tensors, Path("file")), Path("file")), notes


@pytest.fixture(scope="module")
def dense() -> dict[str, torch.Tensor]:
    return made_up(KNOWN["DenseNet-121"])


@pytest.fixture(scope="module")
def imagenet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A made-up ResNet-18 as a folder to begin from, weights as large as trained ones."""
    root = tmp_path_factory.mktemp("imagenet")
    tensors = {name: value * 0.02 if value.ndim == 4 else value for name, value in made_up(KNOWN["ResNet-18"]).items()}
    convert(written(root / "resnet18.pth", tensors), root / "model")
    return root / "model"


@pytest.mark.parametrize("name", ["DenseNet-121", pytest.param("ResNet-50", marks=pytest.mark.slow)])
def test_every_tensor_arrives(name: str, tmp_path: Path) -> None:
    tensors = made_up(KNOWN[name])
    file = written(tmp_path / "weights.pth", tensors)
    done = convert(file, tmp_path / "model")
    model = load(tmp_path / "model")
    assert isinstance(model, Backbone)
    state = model.encoder.state_dict()
    head = {"fc", "classifier"}
    assert {key for key in tensors if key.partition(".")[0] not in head} == set(state)
    for key, value in state.items():
        assert torch.equal(value, tensors[key]), key
    assert done.notes == (f"{'fc' if name[0] == 'R' else 'classifier'} is left out: it knows classes of its own",)
    assert done.parameters == {"ResNet-50": 23_508_032, "DenseNet-121": 6_953_856}[name]
    assert (float(model.mean), float(model.sd)) == (0, 1), "left to be fitted on the clips"
    assert model.frontend.maps == 3
    assert json.loads((tmp_path / "model" / "heard.json").read_text()) == []
    origin = json.loads((tmp_path / "model" / "config.json").read_text())["origin"]
    content = file.read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    assert origin == {"file": "weights.pth", "bytes": len(content), "sha256": sha256, "layout": name}


def test_the_first_map_alone_where_asked(tmp_path: Path, capsys) -> None:
    tensors = made_up(KNOWN["ResNet-34"])
    tensors["conv1.weight"] = torch.randn(64, 3, 7, 7)
    file = written(tmp_path / "resnet34.pth", tensors)
    assert cli.main(["convert", str(file), "-o", str(tmp_path / "red"), "--first-map"]) == 0
    assert "note: of conv1.weight only the first map's part is kept, for images of one" in capsys.readouterr().out
    red = load(tmp_path / "red")
    assert isinstance(red, Backbone)
    assert torch.equal(red.encoder.get_parameter("conv1.weight"), tensors["conv1.weight"][:, :1])
    assert json.loads((tmp_path / "red" / "config.json").read_text())["origin"]["maps"] == "first"
    model, notes = told(tmp_path / "red", LOGMEL, red.specs["encoder"])
    assert notes == [], "it fits images of one map as it is"
    assert torch.equal(model.encoder.get_parameter("conv1.weight"), tensors["conv1.weight"][:, :1])
    assert float(model.mean) == 0
    one_map = made_up(KNOWN["ResNet-18"])
    one_map["conv1.weight"] = one_map["conv1.weight"][:, :1]
    with pytest.raises(ConvertError, match="is ResNet-18 of uclser20, for images of one map"):
        convert(written(tmp_path / "one.pth", one_map), tmp_path / "other", first_map=True)
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("name", KNOWN)
def test_every_layout_is_told_from_the_others(name: str) -> None:
    tensors = made_up(KNOWN[name])
    assert recognize(tensors, Path("file")).name == name
    assert len(taken(tensors)[0]) == len(tensors) - 2
    assert len(KNOWN) == len(TORCHVISION)


def old(name: str) -> str:
    """As the first torchvision files spell it."""
    for part in ("norm1", "norm2", "conv1", "conv2"):
        name = name.replace(f".{part}.", f".{part[:-1]}.{part[-1]}.") if "denselayer" in name else name
    return name


SPELLINGS = {
    "nested": lambda tensors: {"epoch": 90, "arch": "densenet121", "state_dict": tensors, "optimizer": {"lr": 0.1}},
    "twice": lambda tensors: {"model": {"state_dict": tensors}},
    "parallel": lambda tensors: {"state_dict": {f"module.{name}": value for name, value in tensors.items()}},
    "lightning": lambda tensors: {f"model.encoder.{name}": value for name, value in tensors.items()},
    "backbone": lambda tensors: {f"backbone.{name}": t for name, t in tensors.items()} | {"head.bias": torch.zeros(2)},
    "old": lambda tensors: {old(name): value for name, value in tensors.items() if "num_batches" not in name},
    "half": lambda tensors: {name: t.half() if t.is_floating_point() else t for name, t in tensors.items()},
    "headless": lambda tensors: {name: value for name, value in tensors.items() if "classifier" not in name},
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_spellings_of_one_thing_are_one_thing(spelling: str, dense: dict[str, torch.Tensor]) -> None:
    content = SPELLINGS[spelling](dense)
    if spelling == "old":
        assert "features.denseblock1.denselayer1.norm.1.weight" in content
        assert "features.denseblock4.denselayer16.conv.2.weight" in content
    state, notes = taken(content)
    for name, value in dense.items():
        if "classifier" not in name and "num_batches" not in name:
            assert torch.allclose(state[name].float(), value, rtol=1e-3), name
    assert notes == (["head.bias stand beside backbone.* and are left out"] if spelling == "backbone" else [])


def test_safetensors_a_folder_and_the_hub_give_the_same(
    dense: dict[str, torch.Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from safetensors.torch import save_file

    repository = tmp_path / "repository"
    repository.mkdir()
    save_file({name: value.contiguous() for name, value in dense.items()}, repository / "model.safetensors")
    (repository / "pytorch_model.bin").write_bytes(b"another copy, passed over")
    (repository / "config.json").write_text("{}")
    asked = []

    class Missing(OSError):
        pass

    class Offline(Missing, ValueError):
        pass

    def download(name: str, file: str) -> str:
        asked.append((name, file))
        if name == "timm/gone":
            raise Missing
        if name == "timm/away":
            raise OSError("no connection\nwith much detail")
        if name == "timm/offline":
            raise Offline("not in the cache, and no connection")
        return str(repository / file)

    hub = types.ModuleType("huggingface_hub")
    hub.hf_hub_download, errors = download, types.ModuleType("huggingface_hub.errors")  # type: ignore[attr-defined]
    errors.EntryNotFoundError, errors.LocalEntryNotFoundError = Missing, Offline  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    monkeypatch.setitem(sys.modules, "huggingface_hub.errors", errors)
    origins = [convert(source, tmp_path / "model").origin for source in (repository, "timm/densenet121.ra_in1k")]
    assert origins[0] == origins[1]
    assert origins[0]["layout"] == "DenseNet-121"
    assert asked == [("timm/densenet121.ra_in1k", "model.safetensors")]
    with pytest.raises(ConvertError, match=r"timm/gone on the hub holds neither model\.safetensors nor pytorch_model"):
        convert("timm/gone", tmp_path / "model")
    with pytest.raises(ConvertError, match=r"timm/away cannot be had from the hub: no connection$"):
        convert("timm/away", tmp_path / "model")
    with pytest.raises(ConvertError, match=r"timm/offline cannot be had from the hub: not in the cache"):
        convert("timm/offline", tmp_path / "model")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ModuleNotFoundError, match=r"ossicle\[hub\]"):
        convert("timm/resnet18", tmp_path / "model")


# what is refused


def without(tensors: dict[str, torch.Tensor], *parts: str) -> dict[str, torch.Tensor]:
    return {name: value for name, value in tensors.items() if not any(part in name for part in parts)}


def changed(tensors: dict[str, torch.Tensor], name: str, value: torch.Tensor) -> dict[str, torch.Tensor]:
    assert name in tensors
    return tensors | {name: value}


STEM = "features.conv0.weight"
ODD = {
    "row-64-another-network": (
        lambda tensors: {"embeddings.weight": torch.zeros(5, 2)},
        r"no layout that is known here: ResNet-18.*CRNN of uclser20, VGGish\. Its first tensors: embeddings\.weight",
    ),
    "row-64-a-part-missing": (
        lambda tensors: without(tensors, "denseblock4.denselayer16"),
        r"looks like DenseNet-121 and lacks features\.denseblock4\.denselayer16\.norm1\.weight, .* and 7 more",
    ),
    "row-64-a-part-more": (
        lambda tensors: tensors | {"features.extra": torch.zeros(3)},
        r"DenseNet-121 and has features\.extra beyond it",
    ),
    "row-64-one-map": (
        lambda tensors: changed(tensors, STEM, torch.zeros(64, 1, 7, 7)),
        r"other shapes: features\.conv0\.weight \(64, 1, 7, 7\) where \(64, 3, 7, 7\) was wanted",
    ),
    "not-finite": (
        lambda tensors: changed(tensors, STEM, torch.full((64, 3, 7, 7), torch.nan)),
        r"not finite in features\.conv0\.weight",
    ),
    "no-tensors": (lambda tensors: {"epoch": 3, "notes": "none"}, "epoch is a int, and tensors by name were wanted"),
    "a-list": (lambda tensors: list(tensors.values()), "holds a list, and tensors by name were wanted"),
    "nothing": (lambda tensors: {}, "holds a dict, and tensors by name were wanted"),
}


@pytest.mark.parametrize("case", ODD)
def test_row_64_weights_of_something_else_are_refused(case: str, dense: dict[str, torch.Tensor]) -> None:
    change, sentence = ODD[case]
    with pytest.raises(ConvertError, match=sentence):
        taken(change(dense))


class Trap:
    """What runs a command when it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        import os

        return os.mkdir, ("SPRUNG",)


def test_row_66_a_file_that_could_run_code_is_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for legacy in (True, False):
        file = tmp_path / "weights.pth"
        torch.save({"conv1.weight": Trap()}, file, _use_new_zipfile_serialization=not legacy)
        with pytest.raises(ConvertError, match=r"asks for (posix|nt)\.mkdir when it is opened.*not opened"):
            convert(file, tmp_path / "model")
    assert not (tmp_path / "SPRUNG").exists()
    assert not (tmp_path / "model").exists()


def test_row_66_what_load_refuses_it_says_how_to_convert(dense: dict[str, torch.Tensor], tmp_path: Path) -> None:
    folder = tmp_path / "downloaded"
    folder.mkdir()
    written(folder / "weights.pt", dense)
    with pytest.raises(checkpoint.CheckpointError, match=f"`ossicle convert {folder} -o FOLDER`"):
        load(folder)
    assert cli.main(["convert", str(folder), "-o", str(tmp_path / "model")]) == 0
    load(tmp_path / "model")


def test_row_65_damaged_files_are_refused(dense: dict[str, torch.Tensor], tmp_path: Path) -> None:
    whole = written(tmp_path / "whole.pth", dense).read_bytes()
    sha256 = hashlib.sha256(whole).hexdigest()
    (tmp_path / f"dense-{sha256[:8]}.pth").write_bytes(whole)
    convert(tmp_path / f"dense-{sha256[:8]}.pth", tmp_path / "model")
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    for name, content, sentence in (
        (f"dense-{sha256[:8]}.pth", flipped, f"promises a SHA-256 of {sha256[:8]}.*cut short or changed"),
        ("short.pth", whole[: len(whole) // 2], r"damaged, or no torch file of tensors: .*Fetch it again"),
        ("short.safetensors", b"\x40\0\0\0\0\0\0\0{" + b" " * 20, "not whole, or not safetensors"),
        ("page.pth", b"<!DOCTYPE html><html>", "no file of weights, safetensors or torch: it begins with b'<!DOC"),
        ("pointer.bin", b"version https://git-lfs.github.com/spec/v1\n", "a pointer of Git LFS: git lfs pull"),
        ("empty.pth", b"", "no file of weights"),
        ("pickle.pkl", b"\x80\x04K\x05.", "damaged, or no torch file of tensors"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ConvertError, match=sentence):
            convert(tmp_path / name, tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_what_is_no_file_is_refused(imagenet: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for source, sentence in (
        (tmp_path / "none.pth", "there is no .*none.pth: give a file of weights, or owner/name"),
        (tmp_path / "empty", "wanted one file that ends in .*; it holds none: give a file"),
        (imagenet, "a model of ossicle's own: start from it as it is"),
    ):
        with pytest.raises(ConvertError, match=sentence):
            convert(source, tmp_path / "model")


def test_only_convert_opens_torch_files() -> None:
    source = Path(ossicle.__file__).parent
    found = {path.name for path in source.rglob("*.py") if "torch.load(" in path.read_text(encoding="utf-8")}
    assert found == {"convert.py"}


# beginning from what was converted


@pytest.mark.parametrize("maps", [1, 2, 3, 5, 6])
@pytest.mark.parametrize("held", [1, 3, 4])
def test_an_image_of_one_shade_is_answered_as_before(held: int, maps: int) -> None:
    weight, shade = torch.randn(4, held, 3, 3).double(), torch.randn(2, 1, 8, 9).double()
    before, after = (
        torch.nn.functional.conv2d(shade.expand(-1, each.shape[1], -1, -1), each)
        for each in (weight, assemble.for_maps(weight, maps))
    )
    torch.testing.assert_close(after, before)


def test_maps_keep_their_order_and_come_back() -> None:
    weight = torch.randn(4, 3, 3, 3).double()
    torch.testing.assert_close(assemble.for_maps(weight, 3), weight)
    torch.testing.assert_close(assemble.for_maps(assemble.for_maps(weight, 6), 3), weight)
    one = torch.zeros(1, 3, 1, 1)
    one[:, 1] = 1
    assert assemble.for_maps(one, 6).flatten().tolist() == [0, 0, 0.5, 0.5, 0, 0]
    assert assemble.for_maps(one, 2).flatten().tolist() == [0.5, 0.5]


def told(start: Path, frontend: Spec, encoder: Spec) -> tuple[Backbone, list[str]]:
    notes: list[str] = []
    model = Backbone(frontend, encoder)
    assemble.begin_from(start, None, model, lambda kind, row: notes.append(row["note"]))
    return model, notes


def test_gates_start_fresh_on_a_trunk_without(tmp_path: Path) -> None:
    trunk = Backbone(BANDS, Spec("resnet", {"width": 4}))
    trunk.save(tmp_path / "trunk")
    model, notes = told(tmp_path / "trunk", BANDS, Spec("resnet", {"width": 4, "depth": 18, "attention": True}))
    assert notes == [f"{tmp_path}/trunk has no att1, att2, att3, att4, att5: they start fresh"]
    state = model.encoder.state_dict()
    for name, value in trunk.encoder.state_dict().items():
        assert torch.equal(state[name], value)
    model.save(tmp_path / "gated")
    again, notes = told(tmp_path / "gated", BANDS, model.specs["encoder"])
    assert notes == []
    assert torch.equal(again.encoder.get_parameter("att3.bn.weight"), model.encoder.get_parameter("att3.bn.weight"))
    with pytest.raises(RecipeError, match="use one and the same"):
        told(tmp_path / "gated", BANDS, Spec("resnet", {"width": 4}))


def test_another_number_of_maps_is_fitted_and_told(tmp_path: Path) -> None:
    three = Backbone(BANDS, Spec("densenet", {"width": 4}))
    three.mean.fill_(3.0)
    three.save(tmp_path / "three")
    model, notes = told(tmp_path / "three", LOGMEL, Spec("densenet", {"width": 4}))
    assert notes == [f"features.conv0.weight is of 3 maps in {tmp_path}/three, and fitted to 1 here"]
    summed = three.encoder.get_parameter("features.conv0.weight").sum(1, keepdim=True)
    torch.testing.assert_close(model.encoder.get_parameter("features.conv0.weight"), summed)
    assert float(model.mean) == 0, "of another front end, so it is fitted anew"
    small = Spec("small", {"width": 4, "attention": 8})
    Backbone(LOGMEL, small).save(tmp_path / "small")
    with pytest.raises(RecipeError, match=r"shape \(4, 16, 1, 3\).*use the same front end"):
        told(tmp_path / "small", BANDS, small)


@pytest.mark.parametrize("asked", [{"width": 8}, {"depth": 34}])
def test_another_encoder_is_refused(tmp_path: Path, asked: dict[str, int]) -> None:
    Backbone(BANDS, Spec("resnet", {"width": 4})).save(tmp_path / "start")
    with pytest.raises(RecipeError, match="use one and the same"):
        told(tmp_path / "start", BANDS, Spec("resnet", {"width": 4} | asked))


def test_instance_discrimination_begins_from_imagenet(imagenet: Path, tmp_path: Path) -> None:
    noise = np.random.default_rng(0)
    rows = ["filename,fold,label"]
    for number in range(8):
        soundfile.write(tmp_path / f"{number}.wav", 0.1 * noise.standard_normal(4000), 8000)
        rows.append(f"{number}.wav,{number % 2 + 1},{'ab'[number // 4]}")
    (tmp_path / "clips.csv").write_text("\n".join(rows) + "\n")
    tree = {
        "data": {"name": "csv", "path": str(tmp_path / "clips.csv")},
        "split": {"fold": 1},
        "frontend": {"name": "logmel", **LOGMEL.args},
        "encoder": "resnet",
        "objective": "npid",
        "stages": [{"epochs": 1, "lr": 1e-9}],
        "batch": 4,
        "precision": "fp32",
        "start": str(imagenet),
    }
    notes = []
    recipe, cache = from_dict(tree), Cache(tmp_path / "cache")
    result = train.fit(recipe, tmp_path / "run", cache=cache, tell=lambda kind, row: notes.append(row.get("note")))
    assert f"conv1.weight is of 3 maps in {imagenet}, and fitted to 1 here" in notes
    assert result["pretraining"] == "inductive", "ImageNet heard no sound"
    model, begun = load(tmp_path / "run"), load(imagenet)
    assert isinstance(model, Backbone)
    assert isinstance(begun, Backbone)
    assert float(model.sd) != 1, "fitted on the clips"
    for name in ("layer1.0.conv1.weight", "layer4.1.bn2.weight"):
        torch.testing.assert_close(model.encoder.get_parameter(name), begun.encoder.get_parameter(name))
    assert material.heard(imagenet) == set()
    assert len(material.heard(tmp_path / "run") or ()) == 4


def test_a_pretraining_is_planned_on_a_front_end_whose_window_is_its_default(tmp_path: Path) -> None:
    Backbone(Spec("bands"), Spec("resnet")).save(tmp_path / "start")
    planned = plan.pretraining(Spec("synthetic"), start=tmp_path / "start")
    assert planned.frontend == Spec("bands")
    assert planned.views[0] == Spec("crop", {"seconds": 3.0}), "0.6 of five seconds"


def test_the_command_says_what_it_took(dense: dict[str, torch.Tensor], tmp_path: Path, capsys) -> None:
    file = written(tmp_path / "dense.pth", dense)
    assert cli.main(["convert", str(file), "-o", str(tmp_path / "model")]) == 0
    out = capsys.readouterr().out
    assert "DenseNet-121 from dense.pth: 6,953,856 parameters\nnote: classifier is left out" in out
    assert f"wrote {tmp_path}/model" in out
    assert cli.main(["convert", str(tmp_path / "none.pth"), "-o", str(tmp_path / "other")]) == 2
    assert "there is no" in capsys.readouterr().err
