import io
import json
import pickle
import random
import shutil
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from ossicle import checkpoint
from ossicle.checkpoint import CheckpointError, DamagedError, load, save

TENSORS = {"weight": torch.arange(6.0).reshape(2, 3), "count": torch.tensor(7)}
INFO = {"kind": "test", "rate": 0.1}


@pytest.fixture
def place(tmp_path):
    save(tmp_path / "model", TENSORS, INFO)
    return tmp_path / "model"


def same(left, right):
    return left.keys() == right.keys() and all(
        left[name].dtype == right[name].dtype and torch.equal(left[name], right[name]) for name in left
    )


def test_what_is_loaded_is_what_was_saved(place):
    tensors, info = load(place)
    assert same(tensors, TENSORS)
    assert info == INFO


def test_the_weights_are_a_plain_safetensors_file(place):
    assert same(load_file(place / "model.safetensors"), TENSORS)


def test_any_layout_and_type_survives_bit_for_bit(tmp_path):
    torch.manual_seed(0)
    square = torch.randn(4, 6)
    strange = {
        "square": square,
        "transposed": square.t(),
        "slice": square[1:3, ::2],
        "same memory": square.view(24),
        "channels last": torch.randn(2, 3, 4, 4).contiguous(memory_format=torch.channels_last),
        "expanded": torch.ones(1, 3).expand(5, 3),
        "scalar": torch.tensor(3.5, dtype=torch.float64),
        "empty": torch.zeros(0, 3),
        "also empty": torch.zeros(0),
        "keys": torch.tensor([2**63 + 5, 1], dtype=torch.uint64),
        "half": torch.randn(5).bfloat16(),
        "odd": torch.tensor([float("nan"), float("inf"), -0.0]),
        "flags": torch.tensor([True, False]),
        "learned": torch.nn.Parameter(torch.randn(3)),
    }
    save(tmp_path / "strange", strange, {})
    loaded, _ = load(tmp_path / "strange")
    assert loaded.keys() == strange.keys()
    for name, tensor in strange.items():
        assert loaded[name].dtype == tensor.dtype
        assert torch.equal(loaded[name].view(torch.uint8) if loaded[name].ndim else loaded[name], bits(tensor)), name


def bits(tensor):
    plain = tensor.detach().clone(memory_format=torch.contiguous_format)
    return plain.view(torch.uint8) if tensor.ndim else plain


def test_equal_contents_are_equal_bytes(tmp_path):
    """Two runs can then be compared by SHA-256, whatever order their dictionaries were filled in."""
    save(tmp_path / "a", TENSORS, INFO)
    save(tmp_path / "b", dict(reversed(TENSORS.items())), INFO)
    for name in ("model.safetensors", "config.json", "manifest.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_saving_again_replaces_and_leaves_nothing_behind(place):
    save(place, {"other": torch.ones(2)}, {"kind": "new"})
    tensors, info = load(place)
    assert tensors.keys() == {"other"}
    assert info == {"kind": "new"}
    assert [item.name for item in place.parent.iterdir()] == ["model"]


def test_files_of_the_user_stay(place):
    (place / "README.md").write_text("mine")
    (place / "notes").mkdir()
    save(place, TENSORS, {"kind": "new"})
    assert (place / "README.md").read_text() == "mine"
    assert (place / "notes").is_dir()
    assert load(place)[1] == {"kind": "new"}


def test_a_folder_that_is_no_checkpoint_is_not_replaced(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(CheckpointError, match="holds files but no checkpoint"):
        save(tmp_path, TENSORS, INFO)
    with pytest.raises(CheckpointError, match="is a file"):
        save(tmp_path / "thesis.txt", TENSORS, INFO)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_an_empty_folder_is_filled(tmp_path):
    (tmp_path / "model").mkdir()
    save(tmp_path / "model", TENSORS, INFO)
    assert same(load(tmp_path / "model")[0], TENSORS)


@pytest.mark.parametrize("odd", [float("nan"), float("inf"), np.float32("nan")])
def test_nan_in_the_information_is_refused_and_writes_nothing(place, odd):
    with pytest.raises(ValueError, match="NaN or infinity"):
        save(place, TENSORS, {"scores": [1.0, {"best": odd}]})
    assert load(place)[1] == INFO


# row 65: truncated, bit-flipped, half-uploaded


def test_every_one_of_1200_flips_and_truncations_is_noticed(place):
    chance = random.Random(0)
    files = [item for item in sorted(place.iterdir()) for _ in range(400)]
    assert len(files) == 1200
    for trial, file in enumerate(files):
        whole = file.read_bytes()
        damaged = bytearray(whole)
        if trial % 2:
            damaged[chance.randrange(len(whole))] ^= 1 << chance.randrange(8)
        else:
            del damaged[chance.randrange(len(whole)) :]
        file.write_bytes(damaged)
        with pytest.raises(CheckpointError):
            load(place)
        file.write_bytes(whole)
    assert same(load(place)[0], TENSORS)


def test_no_bit_of_the_manifest_can_differ_and_be_accepted(place):
    whole = (place / "manifest.json").read_bytes()
    for position in range(8 * len(whole)):
        damaged = bytearray(whole)
        damaged[position // 8] ^= 1 << position % 8
        (place / "manifest.json").write_bytes(damaged)
        with pytest.raises(CheckpointError):
            load(place)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "manifest.json"])
def test_a_missing_file_is_named(place, name):
    (place / name).unlink()
    with pytest.raises(DamagedError, match=rf"{name} is missing"):
        load(place)


def test_a_changed_file_is_named(place):
    (place / "config.json").write_text((place / "config.json").read_text().replace("0.1", "0.2"))
    with pytest.raises(DamagedError, match=r"config\.json differs from its SHA-256.*again"):
        load(place)


def test_right_hashes_over_a_wrong_format_are_refused(place):
    rewrite(place, **{"model.safetensors": b"not tensors at all"})
    with pytest.raises(DamagedError, match="not in the safetensors format"):
        load(place)


def rewrite(place, *, version=checkpoint.FORMAT, **files):
    """A checkpoint with consistent hashes, as someone else's tool might write it."""
    for name, content in files.items():
        (place / name).write_bytes(content)
    names = ("config.json", "model.safetensors")
    digests = {name: checkpoint.digest((place / name).read_bytes()) for name in names}
    manifest = json.dumps({"files": digests, "format": version}, indent=1) + "\n"
    (place / "manifest.json").write_text(manifest)


# row 64: of another kind or a newer version


def test_another_kind_is_refused_naming_both(place):
    assert load(place, kind="test")[1] == INFO
    with pytest.raises(CheckpointError, match="'test', and 'bank' was wanted"):
        load(place, kind="bank")


def test_a_newer_version_is_refused_naming_both(place):
    rewrite(place, version=9)
    with pytest.raises(CheckpointError, match=r"newer ossicle \(format 9; this one reads up to 1\)") as refusal:
        load(place)
    assert not isinstance(refusal.value, DamagedError)  # so that a run does not fall back to an older one and lose work


def test_nothing_there_is_said(tmp_path):
    with pytest.raises(CheckpointError, match="There is no checkpoint at"):
        load(tmp_path / "nowhere")
    (tmp_path / "bare").mkdir()
    with pytest.raises(CheckpointError, match="is no checkpoint"):
        load(tmp_path / "bare")


# row 66: pickles


class Trap:
    def __reduce__(self):
        return (sys.exit, ("code from a pickle was run",))


def a_pickle():
    return pickle.dumps(Trap())


def a_torch_file():
    content = io.BytesIO()
    torch.save({"weight": torch.ones(2)}, content)
    return content.getvalue()


@pytest.mark.parametrize(
    "name", ["net.pt", "net.pth", "net.pkl", "net.ckpt", "pytorch_model.bin", "net.safetensors", "net"]
)
@pytest.mark.parametrize("content", [a_pickle, a_torch_file])
def test_a_pickle_is_refused_by_content_and_by_name(tmp_path, name, content):
    (tmp_path / name).write_bytes(content())
    with pytest.raises(CheckpointError, match=r"is a pickle.*ossicle convert"):
        load(tmp_path / name)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "archive/data.pkl", "__0_0.distcp"])
def test_a_folder_of_pickles_is_refused(tmp_path, name):
    file = tmp_path / "download" / name
    file.parent.mkdir(parents=True)
    file.write_bytes(a_pickle())
    with pytest.raises(CheckpointError, match=r"is a pickle.*ossicle convert"):
        load(tmp_path / "download")


def test_the_weights_alone_are_not_a_checkpoint(place):
    with pytest.raises(CheckpointError, match="give the folder that holds"):
        load(place / "model.safetensors")


def test_without_safetensors_it_says_what_to_install(place, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors", None)
    monkeypatch.setitem(sys.modules, "safetensors.torch", None)
    for use in (lambda: load(place), lambda: save(place, TENSORS, INFO)):
        with pytest.raises(CheckpointError, match=r"pip install 'ossicle\[train\]'"):
            use()


def test_a_crash_between_the_two_renames_is_mended(place):
    """What a crash at the worst moment leaves is the old folder under its other name: it is read, then replaced."""
    place.rename(place.with_name(".model.old"))
    shutil.copytree(place.with_name(".model.old"), place.with_name(".model.new"))
    assert same(load(place)[0], TENSORS)
    save(place, TENSORS, {"kind": "new"})
    assert load(place)[1] == {"kind": "new"}
    assert [item.name for item in place.parent.iterdir()] == ["model"]
