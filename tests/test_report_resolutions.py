"""One clip as each stage of a recipe sees it: the images themselves, their epochs, and where they are shown."""

import json

import numpy as np
import pytest
import soundfile
import torch

from ossicle import audio, cli, recipe
from ossicle.frontends import FRONTENDS
from ossicle.report import ReportError, draw, found, looks, naming, report, resolutions
from ossicle.report.toml import toml

RATE = 8000


def ear(mels, seconds):
    return {"name": "logmel", "sample_rate": RATE, "seconds": seconds, "n_fft": 256, "hop": 64, "mels": mels}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Eight recordings of two classes, in four folds; three fifths of a second, and each of its own noise."""
    root, rows = tmp_path_factory.mktemp("sounds"), ["filename,label,fold"]
    for number in range(8):
        wave = 0.1 * np.random.default_rng(number).standard_normal(RATE * 3 // 5)
        soundfile.write(root / f"{number}.wav", wave, RATE, subtype="FLOAT")
        rows.append(f"{number}.wav,{'ab'[number % 2]},{number // 2 + 1}")
    (root / "clips.csv").write_text("\n".join(rows) + "\n")
    return root / "clips.csv"


@pytest.fixture
def read(data):
    stages = [
        {"epochs": 2, "lr": 1e-2, "frontend": ear(8, 0.25)},
        {"epochs": 3, "lr": 1e-3, "body": 0.3},
        {"epochs": 1, "lr": 1e-3, "frontend": ear(16, 1.0)},
    ]
    whole = {"data": {"name": "csv", "path": str(data)}, "split": {"fold": 2}, "frontend": ear(16, 1.0)}
    whole |= {"encoder": "resnet", "objective": "supervised", "stages": stages}
    variants = [{"name": "progressive"}, {"name": "flat", "stages": [{"epochs": 6}]}]
    return recipe.from_dict(whole | {"variants": variants})


def followed(folder, read):
    """The folders of a table's runs, begun and no more."""
    for variant in read.variants:
        place = folder / variant["name"] / "fold2"
        place.mkdir(parents=True)
        tree = recipe.to_dict(read.override({"variants": [], **variant}))
        (place / "recipe.json").write_text(json.dumps(tree))
    (folder / "table.json").write_text('{"rows": []}')
    return folder


def test_each_image_is_the_front_ends_own_of_one_training_clip(data, read, tmp_path):
    made = resolutions.sheet(found.look(followed(tmp_path / "t", read)))
    assert {name: [one.epochs for one in row] for name, row in made.rows.items()} == {
        "flat": [(1, 6)],
        "progressive": [(1, 5), (6, 6)],
    }
    assert made.clip not in ("2.wav", "3.wav")  # fold 2 is the test
    wave = audio.read(data.parent / made.clip, sample_rate=RATE)
    for one, (mels, seconds) in zip(made.rows["progressive"], ((8, 0.25), (16, 1.0)), strict=True):
        heard = FRONTENDS["logmel"](**{name: value for name, value in ear(mels, seconds).items() if name != "name"})
        cut = np.resize(wave, (1, round(seconds * RATE)))  # begins anew where it ends
        assert one.image == pytest.approx(heard(torch.from_numpy(cut)[None])[0, 0, 0].numpy(), abs=1e-4)
        assert one.seconds == seconds
    assert made.rows["progressive"][0].title == "8 x 32, epochs 1 to 5"


def test_a_recipes_file_shows_what_it_would_do_and_a_table_what_it_did(read, tmp_path):
    path = tmp_path / "plan.toml"
    path.write_text(toml(recipe.to_dict(read)))
    folder = followed(tmp_path / "t", read)
    planned, done = resolutions.sheet([resolutions.planned(path)]), resolutions.sheet(found.look(folder))
    assert planned.clip == done.clip
    assert {name: len(row) for name, row in planned.rows.items()} == {"progressive": 2, "flat": 1}
    for name, row in planned.rows.items():
        assert all(np.array_equal(a.image, b.image) for a, b in zip(row, done.rows[name], strict=True))
    both = resolutions.sheet([resolutions.planned(path), *found.look(folder)])
    assert len(both.rows) == 4  # told apart by their folders
    for name, begins in (("r.svg", b"<?xml"), ("r.png", b"\x89PNG")):
        made = [draw([each], tmp_path / name, of="resolutions").read_bytes() for each in (path, path, folder)]
        assert made[0] == made[1]
        assert all(each.startswith(begins) for each in made)


def test_the_page_shows_stages_that_differ_and_says_so_where_recordings_are_gone(read, tmp_path):
    whole = report([followed(tmp_path / "t", read)], tmp_path / "r.html").read_text()
    assert "What their stages see" in whole
    assert 'aria-label="8 x 32, epochs 1 to 5, 0.25 s"' in whole
    alike = followed(tmp_path / "alike", read.override({"variants": [{"name": "flat", "stages": [{"epochs": 6}]}]}))
    assert "stages see" not in report([alike], tmp_path / "r.html").read_text()
    gone = followed(tmp_path / "gone", read.override({"data.path": str(tmp_path / "gone.csv")}))
    assert "No images" in report([gone], tmp_path / "r.html").read_text()
    with pytest.raises(ReportError, match=r"no clip to show: .*gone\.csv"):
        draw([gone], tmp_path / "r.svg", of="resolutions")


def test_report_draws_a_recipe_that_was_never_run(read, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plan.toml").write_text(toml(recipe.to_dict(read)))
    assert cli.main(["report", "plan.toml", "--resolutions", "r.svg"]) == 0
    assert (tmp_path / "r.svg").read_text().count("<image") == 3
    with pytest.raises(ReportError, match="nothing to report"):
        draw([], tmp_path / "r.svg", of="resolutions")
    assert cli.main(["report", "none.toml", "--resolutions", "r.svg"]) == 2


def test_the_clip_can_be_chosen_and_is_none_of_the_test_fold(read, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plan.toml").write_text(toml(recipe.to_dict(read)))
    for name in ("5", "5.wav"):
        assert cli.main(["report", "plan.toml", "--resolutions", "r.svg", "--clip", name]) == 0
        assert "5.wav as each stage sees it" in (tmp_path / "r.svg").read_text()
    planned = [resolutions.planned("plan.toml")]
    assert resolutions.sheet(planned, "5.wav").clip == "5.wav"
    with pytest.raises(ReportError, match=r"learned from is called 2\.wav; .\.wav is one"):
        resolutions.sheet(planned, "2.wav")
    assert cli.main(["report", "plan.toml", "--clip", "5"]) == 2
    assert "--clip is for the figure of --resolutions" in capsys.readouterr().err
    assert not (tmp_path / "report.html").exists()


def test_a_file_that_cannot_be_made_keeps_none_of_the_others_away(read, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plan.toml").write_text(toml(recipe.to_dict(read)))
    followed(tmp_path / "t", read)
    asked = ["report", "t", "--boxes", "b.svg", "--resolutions", "r.svg", "--table", "t.md", "-o", "page.html"]
    assert cli.main(asked) == 1
    told = capsys.readouterr()
    assert [line for line in told.out.splitlines() if line.startswith("wrote")] == ["wrote r.svg", "wrote page.html"]
    assert "error: b.svg is not written: no table here has a variant" in told.err
    assert "error: t.md is not written: no table here has a score" in told.err
    assert not (tmp_path / "b.svg").exists()
    assert cli.main(["report", "plan.toml", "--boxes", "b.svg", "--resolutions", "again.svg"]) == 1
    assert "b.svg is not written: plan.toml is a recipe" in capsys.readouterr().err
    assert cli.main(["report", "t", "--boxes", "b.svg"]) == 2


def test_arms_of_folders_that_end_alike_keep_names_of_their_own(tmp_path):
    folders = [tmp_path / place / "runs" / "mel" for place in ("one", "two")]
    made = naming.titles([*((folder, "") for folder in folders), (folders[0], "wide")])
    assert list(made.values()) == ["one/runs/mel", "two/runs/mel", "wide"]


def test_what_is_resized_is_shown_by_the_front_end_that_is_resized():
    bands = {"name": "bands", "sample_rate": RATE, "seconds": 0.5, "n_fft": 192, "win": 160, "hop": 100}
    small = looks.look({"name": "resized", "of": bands, "size": [8, 8]})
    assert isinstance(small, looks.Thirds)
    heard = looks.look({"name": "resized", "of": ear(16, 1.0), "size": [8, 8]})
    assert (heard.sample_rate, heard.frontend.bins) == (RATE, 16)
