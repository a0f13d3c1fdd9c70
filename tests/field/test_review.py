"""From a run to a page and back to a table: what is asked about, what is left alone, and names that mean harm."""

import csv
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
import soundfile

from ossicle import datasets, recipe
from ossicle.cli import main
from ossicle.data.manifest import Clip, Manifest
from ossicle.durable import write_json
from ossicle.field.page import PageError
from ossicle.field.review import ReviewError, _strangers, review
from ossicle.model import Backbone, Classifier

RATE = 8000
HOSTILE = "</script><img src=x onerror=alert(1)>"
LABELS = ("low", HOSTILE)
FRONTEND = {"name": "logmel", "sample_rate": RATE, "seconds": 0.5, "n_fft": 256, "hop": 128, "mels": 16}
WRONG = "16.wav"


def tone(hertz, seconds=0.5, seed=0):
    time_axis = np.arange(round(RATE * seconds)) / RATE
    return 0.3 * np.sin(2 * np.pi * hertz * time_axis) + 0.01 * np.random.default_rng(seed).normal(size=len(time_axis))


@pytest.fixture(scope="module")
def sounds(tmp_path_factory):
    """Two classes of twelve recordings in three folds, one of fold 2 labelled wrong; and a folder without labels."""
    root = tmp_path_factory.mktemp("sounds")
    rows = ["filename,label,fold"]
    for number in range(24):
        soundfile.write(root / f"{number}.wav", tone((300, 2500)[number % 2] * (1 + 0.01 * number), seed=number), RATE)
        label = LABELS[1 - number % 2 if f"{number}.wav" == WRONG else number % 2]
        rows.append(f'{number}.wav,"{label}",{number // 2 % 3 + 1}')
    (root / "clips.csv").write_text("\n".join(rows) + "\n")
    new = root / "new"
    new.mkdir()
    long = np.concatenate([tone(300, seed=50), tone(1200, seed=51), tone(1200, seed=51), np.zeros(RATE // 2)])
    soundfile.write(new / '<b>long & "wide".wav', long, RATE)
    soundfile.write(new / "of fold 1.wav", *soundfile.read(root / "0.wav"))
    return root


def finished(folder, data, fold=1, labels=()):
    """A run as training leaves it, its model untrained: a narrow front end tells these tones apart as it is."""
    import torch

    torch.manual_seed(0)
    tree = {
        "data": data,
        "split": {"fold": fold},
        "frontend": FRONTEND,
        "encoder": {"name": "resnet", "depth": 18, "width": 4},
        "objective": "supervised" if labels else "npid",
        "stages": [{"epochs": 1, "lr": 1e-3}],
    }
    followed = recipe.from_dict(tree)
    model = Backbone(followed.frontend, followed.encoder)
    (Classifier(model, labels) if labels else model).save(folder / "model")
    write_json(folder / "recipe.json", recipe.to_dict(followed))
    write_json(folder / "result.json", {"kind": "classifier" if labels else "backbone"})
    return folder


@pytest.fixture(scope="module")
def run(sounds, tmp_path_factory):
    return finished(tmp_path_factory.mktemp("run"), {"name": "csv", "path": str(sounds / "clips.csv")})


@pytest.fixture(scope="module")
def found(run, sounds, tmp_path_factory):
    return review(run, str(sounds / "new"), out=tmp_path_factory.mktemp("out") / "review", most=8)


class Elements(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.found, self.text = [], {}
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text.setdefault(self.found[-1][0] if self.found else "", []).append(data)


@pytest.fixture(scope="module")
def page(found):
    return found.page.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def table(page):
    return json.loads(re.search(r'<script type="application/json" id="table">(.*?)</script>', page)[1])


def test_the_wrong_label_is_doubted_first_and_the_test_fold_left_alone(found):
    assert found.doubts[0].clip.name == WRONG
    assert found.doubts[0].likely[0][0] == "low"
    assert found.labelled == 16
    assert all(card.clip.fold in (2, 3) for card in (*found.doubts, *found.suggestions))


def test_recordings_that_the_data_holds_are_strangers_to_no_pool(sounds):
    clips = [Clip(sounds / f"{number}.wav", f"{number}.wav", (), 1, f"r{number // 2}") for number in range(6)]
    whole = Manifest.of("whole", clips[:3])
    copied = replace(clips[1], name="copy.wav", group="")
    strange = _strangers(Manifest.of("pool", [*clips[3:], copied, replace(clips[5], name="0.wav")]), whole)
    assert [clip.name for clip in strange.clips] == ["pool/4.wav", "pool/5.wav", "pool/0.wav"]  # 3 is of 2's recording
    assert not any(clip.fold for clip in strange.clips)


def test_moments_of_long_recordings_are_suggested_once_each(found):
    assert {card.clip.name for card in found.suggestions} == {'<b>long & "wide".wav'}  # the other is of fold 1
    assert found.pool == 4
    starts = [card.clip.start for card in found.suggestions]
    assert len(set(starts)) == len(starts)
    assert not {0.5, 1.0} <= set(starts)  # the same sound twice
    assert len({card.clip.fold for card in found.suggestions}) == 1


def test_names_and_labels_are_text_on_the_page(page, found):
    elements = Elements(page)
    names = [name for name, _ in elements.found]
    assert names.count("article") == len(found.doubts) + len(found.suggestions)
    assert {"img", "b"}.isdisjoint(names)
    assert names.count("script") == 2
    assert HOSTILE in {attributes.get("value") for name, attributes in elements.found if name == "option"}
    assert all(re.fullmatch(r"sounds/\w+\.flac", of["src"]) for name, of in elements.found if "src" in of)
    assert not re.search(r"https?://(?!www\.w3\.org)", page)


def test_every_sound_of_the_page_can_be_heard(page, found):
    sources = [of["src"] for name, of in Elements(page).found if name == "audio"]
    assert len(set(sources)) == len(sources)
    for source, card in zip(sources, (*found.doubts, *found.suggestions), strict=True):
        wave, rate = soundfile.read(found.page.parent / source)
        own, _ = soundfile.read(card.clip.path)
        start = round(card.clip.start * rate)
        assert np.abs(wave - own[start : start + len(wave)]).max() < 1e-4


def test_the_table_of_the_page_is_the_data_again(table, sounds, tmp_path):
    with (tmp_path / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows([table["header"], *(row[1:] for row in table["rows"])])
    one, two = datasets.load(sounds / "clips.csv"), datasets.load(tmp_path / "labels.csv")
    assert one.fingerprint() == two.fingerprint()
    assert all(row[1 + table["column"]] == "?" for row in table["added"])


def test_a_page_takes_no_folder_that_holds_something_else(run, sounds, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(PageError, match=r"holds notes\.txt"):
        review(run, out=tmp_path)
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_page_is_replaced(run, sounds, found, tmp_path):
    first = review(run, str(sounds / "new"), out=tmp_path / "review", most=3)
    again = review(run, out=tmp_path / "review", most=1)
    assert len(list((tmp_path / "review" / "sounds").iterdir())) == len(again.doubts) == 1
    assert len(first.doubts) == 3
    assert not again.suggestions


def test_without_labels_sounds_unlike_each_other_are_suggested(sounds, tmp_path):
    data = {"name": "folder", "path": str(sounds / "new")}
    run = finished(tmp_path / "run", data, fold=None)
    found = review(run, out=tmp_path / "review")
    assert not found.doubts
    assert len(found.suggestions) in (3, 4)  # two low tones may sound alike
    assert "no labels yet" in found.notes[0]
    labelled = review(run, labels=str(sounds / "clips.csv"), out=tmp_path / "labelled", most=4)
    assert labelled.labelled == 24
    assert labelled.doubts[0].clip.name == WRONG


def test_a_class_of_one_recording_is_not_doubted_and_said_to_be_too_small(sounds, tmp_path):
    rows = (sounds / "clips.csv").read_text().splitlines()
    (tmp_path / "few.csv").write_text(
        "\n".join([rows[0], *(f"{sounds}/{row}" for row in (*rows[1:6:2], rows[2]))]) + "\n"
    )
    run = finished(tmp_path / "run", {"name": "csv", "path": str(tmp_path / "few.csv")}, fold=None)
    found = review(run, str(sounds / "new"), out=tmp_path / "review")
    assert not found.doubts
    assert "cannot be doubted yet" in found.notes[0]


def test_a_classifier_is_asked_too_and_one_that_knows_all_labels_by_heart_is_told_of(sounds, tmp_path, monkeypatch):
    run = finished(tmp_path / "run", {"name": "csv", "path": str(sounds / "clips.csv")}, labels=tuple(sorted(LABELS)))
    found = review(run, out=tmp_path / "review", most=2)
    assert found.doubts[0].clip.name == WRONG
    assert not found.notes
    monkeypatch.setattr("ossicle.field.review.correct", lambda probability, target: np.ones(len(target)))
    assert "tells 100.0 % of these labels" in review(run, out=tmp_path / "review", most=2).notes[-1]


def test_what_cannot_be_reviewed_is_a_sentence(run, sounds, tmp_path, capsys):
    assert main(["review", str(tmp_path)]) == 2
    assert "is no run" in capsys.readouterr().err
    assert main(["review", str(run), "--most", "0"]) == 2
    unfinished = finished(tmp_path / "run", {"name": "csv", "path": str(sounds / "clips.csv")})
    (unfinished / "result.json").unlink()
    with pytest.raises(ReviewError, match="is not finished"):
        review(unfinished)


def test_the_verb_tells_what_it_found(run, sounds, tmp_path, capsys):
    assert main(["review", str(run), str(sounds / "new"), "-o", str(tmp_path / "review"), "--most", "2"]) == 0
    said = capsys.readouterr().out
    assert f"  {WRONG}: labelled {HOSTILE}; clips like it say low" in said
    assert "worth labelling, of 4" in said
    assert "ossicle train labels.csv" in said.splitlines()[-1]
