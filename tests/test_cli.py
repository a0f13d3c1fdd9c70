"""The command line: the whole way on a few tones, refusals as sentences, bad files, interruption."""

import contextlib
import io
import json
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import load_file

from ossicle import cli, learn
from ossicle.deploy.config import MEMORY, MODEL, opened
from ossicle.deploy.head import head
from ossicle.deploy.memory import unpacked
from ossicle.plan import continuing, data, pretraining, recognizer
from ossicle.recipe import RecipeError, to_dict
from ossicle.starts import inherited, pair

RATE = 8000
SMALL = "--set encoder.width=4 --set frontend.mels=32 --precision fp32 --batch 8 --lr 0.003"
HEARD = f"--rate {RATE} --seconds 0.4"


def ossicle(command, folder):
    """Runs a command line in this process and in a folder: (status, what it printed, what it told)."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.chdir(folder), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = cli.main(command.split() if isinstance(command, str) else command)
    return status, out.getvalue(), err.getvalue()


def refused(command, folder):
    """What a command that must be refused says."""
    status, out, err = ossicle(command, folder)
    assert (status, out) == (2, "")
    assert "Traceback" not in err
    return err


def write_sounds(root):
    """Two classes of eight recordings of half a second in two folds, and four recordings without a label."""
    noise, rows = np.random.default_rng(0), ["filename,fold,label,group"]
    for number in range(20):
        label = ("low", "high")[number % 2] if number < 16 else "?"
        tone = np.sin(2 * np.pi * (300, 2000)[number % 2] * (1 + 0.02 * number) * np.arange(RATE // 2) / RATE)
        soundfile.write(root / f"{number}.wav", 0.3 * tone + 0.05 * noise.standard_normal(len(tone)), RATE)
        rows.append(f"{number}.wav,{number // 2 % 2 + 1 if number < 16 else ''},{label},{number}")
    (root / "clips.csv").write_text("\n".join(rows) + "\n")
    return root


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder in which every verb was run once after the other; `said` holds what each printed."""
    root = tmp_path_factory.mktemp("place")
    write_sounds(root)
    said = {}
    for command in (
        "data clips.csv",
        f"pretrain clips.csv -o pre --fold 1 --epochs 2 {HEARD} {SMALL}",
        f"train clips.csv --from pre -o rec --fold 1 --few 3 --epochs 6 {SMALL}",
        "evaluate rec",
        "size rec",
        "export rec -o bundle",
        "listen bundle . --on 0.4",
        "report pre rec -o report.html",
    ):
        status, out, err = ossicle(command, root)
        assert status == 0, (command, out, err)
        said[command.split()[0]] = out, err
    return root, said


# -- the way ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verb", "wrote", "after"),
    [
        ("data", None, "ossicle pretrain clips.csv -o runs/pre"),
        ("pretrain", "pre", "ossicle train clips.csv --from pre -o runs/rec --fold 1"),
        ("train", "rec", "ossicle evaluate rec"),
        ("evaluate", "rec", "ossicle export rec -o bundle/"),
        ("size", None, "ossicle export rec -o bundle/"),
        ("export", "bundle", "ossicle listen bundle FILE"),
        ("report", "report.html", "open report.html in a browser"),
    ],
)
def test_every_verb_names_what_it_wrote_and_what_comes_next(place, verb, wrote, after):
    root, said = place
    assert said[verb][0].rstrip().endswith(f"next  {after}")
    if wrote:
        assert f"wrote {wrote}" in said[verb][0]
        assert (root / wrote).exists()


def test_one_line_an_epoch_where_there_is_no_terminal(place):
    lines = [line for line in place[1]["pretrain"][1].splitlines() if line.startswith("epoch")]
    assert [line.split()[1] for line in lines] == ["1/2", "2/2"]


def test_train_takes_the_encoder_and_labels_it_was_given(place):
    recipe = json.loads((place[0] / "rec" / "recipe.json").read_text())
    assert (recipe["encoder"]["width"], recipe["frontend"]["sample_rate"], recipe["split"]["few"]) == (4, RATE, 3)
    assert json.loads((place[0] / "rec" / "data.json").read_text())["clips"]["train"] == 6
    assert json.loads((place[0] / "rec" / "result.json").read_text())["pretraining"] == "inductive"


def test_size_tells_each_layer_and_whether_it_fits(place):
    lines = place[1]["size"][0].splitlines()
    assert lines[0].split() == ["layer", "kind", "makes", "parameters", "multiply-adds", "ms"]
    assert {"network", "front", "weights", "activations", "latency", "files"} <= {line.split()[0] for line in lines}
    assert lines[-2].startswith("fits 128 kB / 30 MMACs: ")
    status, out, _ = ossicle("size bundle --json", place[0])
    found = json.loads(out)
    assert (status, found["fits"]) == (0, lines[-2].endswith("yes"))
    assert sum(row["multiply_adds"] for row in found["rows"] if not row["frontend"]) == found["multiply_adds"]
    status, out, _ = ossicle("size pre", place[0])
    assert (status, out.splitlines()[-1]) == (0, "next  ossicle train LABELLED --from pre -o runs/rec")
    assert "name one of them" in refused("size .", place[0])


def test_export_makes_a_model_of_8_bit_and_measures_it_on_the_validation_clips(place):
    clips = json.loads((place[0] / "rec" / "data.json").read_text())["clips"]
    told = json.loads((place[0] / "bundle" / "config.json").read_text())["int8"]
    part = "validation" if clips["valid"] else "training"
    assert (told["measure"], told["part"], told["clips"]) == ("accuracy", part, clips["valid"] or clips["train"])
    assert told["score"] >= told["float_score"] - 0.01
    assert "model.int8.onnx: accuracy" in place[1]["export"][0]
    assert ossicle("listen bundle 0.wav --int8 --on 0.4", place[0])[0] == 0


def test_export_remembers_what_was_learned_and_what_the_model_makes_of_it(place):
    clips = json.loads((place[0] / "rec" / "data.json").read_text())["clips"]
    config, files = opened(place[0] / "bundle")
    memory = unpacked(files[MEMORY], len(config.labels))
    assert ((~memory.guard).sum(), memory.guard.sum()) == (clips["train"], clips["valid"] or clips["train"])
    assert memory.part == ("validation" if clips["valid"] else "training")
    assert memory.where(~memory.guard).target.sum(0).tolist() == [3, 3]
    assert head(files[MODEL]).logits(memory.feature).shape == (len(memory.feature), 2)


def test_a_model_without_its_run_is_exported_too_and_without_8_bit(place):
    status, out, _ = ossicle("export rec/model -o alone", place[0])
    assert status == 0
    assert "no model.int8.onnx" in out
    assert not (place[0] / "alone" / "model.int8.onnx").exists()
    assert "no memory.npz, by which its head could be refitted" in refused("adapt alone --new more", place[0])


def test_listen_writes_an_event_a_line(place):
    events = [json.loads(line) for line in place[1]["listen"][0].splitlines()]
    assert {event["label"] for event in events} <= {"low", "high"}
    assert len({event["source"] for event in events}) == 20
    assert f"{len(events)} events" in place[1]["listen"][1]


def test_listen_hears_a_pipe(place, monkeypatch):
    samples = (0.3 * np.sin(2 * np.pi * 300 * np.arange(RATE) / RATE) * 32767).astype("<i2").tobytes()
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(samples)))
    status, out, _ = ossicle("listen bundle - --format csv --on 0.3", place[0])
    assert status == 0
    assert out.splitlines()[0] == "source,label,start,stop,score,time"
    assert all(line.startswith("-,") for line in out.splitlines()[1:])


def test_listening_takes_no_torch(place):
    code = "import sys; sys.modules['torch'] = None; from ossicle.cli import main; sys.exit(main(sys.argv[1:]))"
    arguments = [sys.executable, "-c", code, "listen", "bundle", "0.wav", "--on", "0.4", "--format", "text"]
    done = subprocess.run(arguments, cwd=place[0], capture_output=True, text=True)
    assert (done.returncode, done.stdout.split()[0]) == (0, "0:00:00.000"), done.stderr


def test_a_file_that_cannot_be_heard_costs_one_line_and_the_status(place):
    status, out, err = ossicle("listen bundle nowhere.wav 0.wav --on 0.4", place[0])
    assert status == 1
    assert {json.loads(line)["source"] for line in out.splitlines()} == {"0.wav"}
    assert json.loads(err.splitlines()[0])["path"] == "nowhere.wav"


def test_a_finished_run_is_not_done_again(place):
    before = (place[0] / "rec" / "log.jsonl").read_bytes()
    status, out, err = ossicle(f"train clips.csv --from pre -o rec --fold 1 --few 3 --epochs 6 {SMALL}", place[0])
    assert (status, "epoch" in err) == (0, False)
    assert "wrote rec" in out
    assert (place[0] / "rec" / "log.jsonl").read_bytes() == before


def test_without_a_fold_one_is_held_out_to_calibrate_on(place):
    status, out, _ = ossicle(f"train clips.csv --from pre -o all --epochs 1 {SMALL}", place[0])
    assert status == 0
    assert "valid_accuracy" in out
    assert "next  ossicle export all -o bundle/" in out
    assert json.loads((place[0] / "all" / "data.json").read_text())["clips"] == {"train": 8, "valid": 8, "test": 0}


def test_an_encoder_is_evaluated_by_its_neighbors_and_a_probe(place):
    status, out, _ = ossicle("evaluate pre", place[0])
    assert status == 0
    assert "kNN" in out
    assert "linear probe" in out


def test_a_pretraining_goes_on_with_other_recordings(place, tmp_path):
    """The old rows stay in the bank beside those of the new clips, and what was heard adds up."""
    root = place[0]
    write_sounds(tmp_path)
    for path in tmp_path.glob("*.wav"):
        path.rename(path.with_name(f"new-{path.name}"))
    (tmp_path / "clips.csv").unlink()
    status, out, err = ossicle(f"pretrain {tmp_path} --continue pre -o more --epochs 1", root)
    assert status == 0, (out, err)
    memories = {name: load_file(root / name / "memory" / "model.safetensors") for name in ("pre", "more")}
    new = len(list(tmp_path.glob("*.wav")))
    assert len(memories["more"]["bank"]) == new + len(memories["pre"]["bank"])
    assert torch.equal(memories["more"]["bank"][new:], memories["pre"]["bank"])
    assert set(memories["pre"]["keys"].tolist()) < set(memories["more"]["keys"].tolist())
    recipe = json.loads((root / "more" / "recipe.json").read_text())
    before = json.loads((root / "pre" / "recipe.json").read_text())
    assert recipe["frontend"] == before["frontend"]
    assert (recipe["objective"]["keep"], recipe["start"]) == (True, "pre")
    heard = {name: set(json.loads((root / name / "heard.json").read_text())) for name in ("pre", "more")}
    assert heard["pre"] < heard["more"]


def test_folds_pair_each_with_its_own_pretraining_and_stamp_one_that_heard_the_test(place):
    root = place[0]
    status, out, err = ossicle(f"pretrain clips.csv -o pres --folds --epochs 1 {HEARD} {SMALL}", root)
    assert status == 0, err
    assert "--from pres -o runs/rec --folds" in out
    status, out, err = ossicle(f"train clips.csv --from pres -o recs --folds --epochs 1 {SMALL}", root)
    assert (status, "pretraining inductive" in out) == (0, True), (out, err)
    for fold in (1, 2):
        recipe = json.loads((root / "recs" / f"fold{fold}" / "recipe.json").read_text())
        assert recipe["start"] == "pres/fold{fold}"
        evaluation = json.loads((root / "recs" / f"fold{fold}" / "evaluation.json").read_text())
        assert (evaluation["pretraining"], evaluation["openings"]) == ("inductive", 1)
    assert "ossicle report recs" in out
    status, out, _ = ossicle(f"train clips.csv --from pre -o mixed --folds --epochs 1 {SMALL}", root)
    stamps = [json.loads((root / "mixed" / f"fold{n}" / "evaluation.json").read_text())["pretraining"] for n in (1, 2)]
    assert (status, stamps) == (0, ["inductive", "transductive"])
    assert "transductive" in out


def test_a_recipe_is_followed_with_what_was_asked_for(place):
    recipe = place[0] / "tones.toml"
    recipe.write_text(
        'data = { name = "csv", path = "clips.csv" }\nsplit = { fold = 2 }\nobjective = "supervised"\n'
        'frontend = { name = "logmel", sample_rate = 8000, seconds = 0.4, mels = 32 }\n'
        'encoder = { name = "resnet", width = 4 }\nstages = [{ epochs = 9 }]\nbatch = 8\n'
    )
    status, out, err = ossicle("run tones.toml --epochs 1 --seed 3 --set precision=fp32", place[0])
    assert status == 0, err
    assert "next  ossicle evaluate runs/tones" in out
    variants = 'variants = [{ name = "one" }, { name = "two", "stages.0.lr" = 0.01 }]\n'
    (place[0] / "arms.toml").write_text(variants + recipe.read_text())
    status, out, err = ossicle("run arms.toml --epochs 1 --set precision=fp32", place[0])
    assert (status, sorted(path.name for path in (place[0] / "runs" / "arms").glob("*/*"))) == (
        0,
        ["fold2", "fold2"],
    ), err
    assert [line.split()[0] for line in out.splitlines() if "accuracy" in line] == ["one", "two"]
    followed = json.loads((place[0] / "runs" / "tones" / "recipe.json").read_text())
    assert (followed["stages"][0]["epochs"], followed["seed"], followed["precision"]) == (1, 3, "fp32")


@pytest.mark.parametrize("key", ["variants=[{name='one'}]", "grid={seed=[1]}", "batch=8"])
def test_a_table_is_what_was_asked_for_on_the_line_too(tmp_path, monkeypatch, key):
    parts = ("data", "frontend", "encoder", "objective")
    lines = [f'{part} = "any"' for part in parts] + ["stages = [{ epochs = 1 }]"]
    (tmp_path / "tones.toml").write_text("\n".join(lines))
    asked = {}
    monkeypatch.setattr("ossicle.learn.learn", lambda recipe, out, **ways: asked.update(ways) or "")
    status, _, err = ossicle(f"run tones.toml -o other --set {key}", tmp_path)
    assert (status, asked["folds"]) == (0, key != "batch=8"), err
    assert asked["evaluate"] is None
    status, _, err = ossicle(f"run tones.toml -o other --evaluate --set {key}", tmp_path)
    assert (status == 0) == asked["folds"] == bool(asked["evaluate"]), err
    assert asked["folds"] or "--evaluate is for tables: add --folds" in err


# -- refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        ("trian clips.csv", 'Did you mean "train"'),
        ("train clips.csv", "out"),
        ("train clips.csv -o new --epochs many", "epochs"),
        ("train clips.csv -o new --fold 7", "no fold 7; known: 1, 2"),
        ("train clips.csv -o new --fold 1 --valid later", "--valid later: wanted a fold's number, next or none"),
        ("train clips.csv -o new --set encoder.widht=3 --fold 1", "Did you mean 'width'?"),
        ("train clips.csv -o new --set nonsense", "--set nonsense: wanted KEY=VALUE"),
        ("train clips.csv -o new --set stages.0.lr=fast --fold 1", "is the text 'fast'; wanted: a number"),
        ("train clips.csv -o new --lr 0 --fold 1", "a learning rate is above zero"),
        pytest.param(
            "train clips.csv -o new --fold 1 --device cuda", "device cuda: no CUDA device is here", id="row-75-no-cuda"
        ),
        ("train clips.csv -o new --folds --allow environment", "--allow environment is for one run"),
        ("train clips.csv -o new --from nowhere", "nowhere is not there"),
        ("train clips.csv -o pre --fold 1", "pre is a finished run of something else"),
        ("train clips.csv -o 0.wav --fold 1", "0.wav is a file, and a run is a folder"),
        ("pretrain nowhere -o new", "nowhere is not there; give a folder"),
        ("pretrain clips.csv --continue rec -o new", "rec learned by 'supervised'; --continue goes on with 'npid'"),
        ("pretrain clips.csv --continue pre/model -o new", "what it remembers is gone: begin with --from"),
        ("pretrain clips.csv --continue pre --from pre -o new", "leave out --objective, --from, --seconds and --rate"),
        ("pretrain clips.csv --continue pre --objective joint -o new", "leave out --objective, --from, --seconds"),
        ("evaluate nowhere", "nowhere is no run"),
        ("export nowhere -o new", "nowhere"),
        ("export rec/model -o new --int8", "8 bit needs clips that the run learned from: rec/model is no run"),
        ("export pre -o new", "pre is an encoder that knows no classes"),
        ("listen bundle", "nothing to listen to"),
        ("listen bundle 0.wav --formt text", "--formt is no option of listen"),
        ("listen pre 0.wav", "bundle"),
        ("listen bundle 0.wav --on 0.2 --off 0.3", "off"),
        ("run nowhere.toml", "nowhere.toml cannot be read"),
        ("report nowhere", "nowhere"),
    ],
)
def test_refusals_are_sentences(place, command, sentence, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert sentence in refused(command, place[0])
    assert not (place[0] / "new").exists()


def test_a_recipe_with_an_unknown_key_names_the_nearest(place):
    (place[0] / "odd.toml").write_text('batchsize = 3\nlr = "1e-3"\n')
    assert "odd.toml: recipe has no key 'batchsize'" in refused("run odd.toml", place[0])


def test_two_runs_do_not_share_a_folder(place):
    root = place[0] / "busy"
    shutil.copytree(place[0] / "rec", root)
    (root / "result.json").unlink()
    learner = json.loads((root / "recipe.json").read_text())
    (root / "lock.json").write_text(json.dumps({"pid": 1, "host": "elsewhere", "began": "0", "since": "yesterday"}))
    assert learner["split"]["fold"] == 1
    said = refused(f"train clips.csv --from pre -o busy --fold 1 --few 3 --epochs 6 {SMALL}", place[0])
    assert "busy is in use by process 1 on elsewhere" in said


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(28, "No space left on device", "/cache/x"), "error: /cache/x: No space left on device"),
        (OSError(5, "Input/output error"), "error: Input/output error"),
    ],
)
def test_a_failing_disk_is_a_sentence(monkeypatch, tmp_path, error, said):
    def fail(source):
        raise error

    monkeypatch.setattr("ossicle.datasets.load", fail)
    assert refused("data .", tmp_path).strip() == said


def test_a_bug_is_not_hidden(monkeypatch, tmp_path):
    monkeypatch.setattr("ossicle.datasets.load", lambda source: {}["missing"])
    with pytest.raises(KeyError):
        ossicle("data .", tmp_path)


# -- what goes wrong on the way ---------------------------------------------------------------------------------------


def test_bad_files_are_listed_once_whatever_they_are_called(tmp_path):
    write_sounds(tmp_path)
    odd = tmp_path / 'a "quoted"\nname.wav'
    odd.write_text("<!DOCTYPE html>")
    command = f"pretrain . -o run --epochs 1 {HEARD} {SMALL}"
    assert "1 of 21 files cannot be used" in refused(command, tmp_path)
    listed = tmp_path / "run" / "bad_files.jsonl"
    (row,) = [json.loads(line) for line in listed.read_text().splitlines()]
    assert (row["path"].endswith(odd.name), row["stage"]) == (True, "open")
    for _ in range(2):
        status, out, err = ossicle(f"{command} --max-bad 0.1", tmp_path)
        assert (status, "wrote run" in out) == (0, True), err
        assert [json.loads(line) for line in listed.read_text().splitlines()] == [row]
    assert err.count("bad file: ") == 1
    assert json.loads((tmp_path / "run" / "result.json").read_text())["bad_files"] == 1


def test_ctrl_c_leaves_a_run_that_goes_on(place, monkeypatch):
    class Impatient(learn.Show):
        def hear_step(self, row):
            if row["done"] == 2:
                signal.raise_signal(signal.SIGINT)

    command = f"pretrain clips.csv -o stopped --epochs 3 {HEARD} {SMALL}"
    with monkeypatch.context() as patch:
        patch.setattr(learn, "Show", Impatient)
        status, out, err = ossicle(command, place[0])
    assert (status, out) == (130, "")
    assert f"goes on from here: ossicle {command}" in err
    assert ossicle(command, place[0])[0] == 0
    rows = [json.loads(line) for line in (place[0] / "stopped" / "log.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in rows] == [1, 2, 3]


# -- plans ------------------------------------------------------------------------------------------------------------


def test_a_start_with_a_run_a_fold_asks_for_a_fold(tmp_path):
    write_sounds(tmp_path)
    for fold in (1, 2):
        (tmp_path / "pre" / f"fold{fold}").mkdir(parents=True)
        (tmp_path / "pre" / f"fold{fold}" / "recipe.json").write_text("{}")
    assert pair(tmp_path / "pre") == str(tmp_path / "pre" / "fold{fold}")
    with pytest.raises(RecipeError, match="say which with --fold"):
        recognizer(tmp_path / "clips.csv", start=tmp_path / "pre")
    with pytest.raises(RecipeError, match="not finished"):
        recognizer(tmp_path / "clips.csv", start=tmp_path / "pre", fold=1)


def test_starts_are_found_by_fold_by_seed_and_from_inside(tmp_path, monkeypatch):
    for seed in (0, 1):
        (tmp_path / "pre" / f"fold1-seed{seed}").mkdir(parents=True)
        (tmp_path / "pre" / f"fold1-seed{seed}" / "recipe.json").write_text("{}")
    begun = pair(tmp_path / "pre")
    assert begun == str(tmp_path / "pre" / "fold{fold}-seed{seed}")
    config = {"frontend": {"name": "bands"}, "encoder": {"name": "resnet"}, "policy": "zero", "channels": 2}
    (tmp_path / "pre" / "fold1-seed1" / "config.json").write_text(json.dumps(config))
    assert {str(inherited(begun, fold)["encoder"].name) for fold in (None, 1)} == {"resnet"}
    monkeypatch.chdir(tmp_path / "pre" / "fold1-seed1")
    assert inherited(".", None)["channels"] == 2


def test_going_on_hears_what_was_heard_at_last_at_a_third_of_its_rate(place, tmp_path):
    tree = json.loads((place[0] / "pre" / "recipe.json").read_text())
    first, last = ({**tree["frontend"], "seconds": seconds} for seconds in (0.2, 0.4))
    stages = [{"epochs": 1, "lr": 0.5}, {"epochs": 1, "lr": 0.2, "frontend": last}, {"epochs": 1, "lr": 0.1}]
    tree |= {"frontend": first, "stages": stages}
    shutil.copytree(place[0] / "pre", tmp_path / "pre")
    (tmp_path / "pre" / "recipe.json").write_text(json.dumps(tree))
    write_sounds(tmp_path)
    (tmp_path / "clips.csv").unlink()
    onward = continuing(data(tmp_path, segment=0.2), tmp_path / "pre")
    assert onward.frontend.args["seconds"] == 0.4
    assert (onward.stages[0].frontend, onward.stages[0].lr) == (None, pytest.approx(0.03))
    assert onward.objective.args["apart"] == "clips"


@pytest.mark.parametrize("objective", ["npid", "contrastive", "joint"])
def test_each_way_to_learn_without_labels_has_a_plan_that_is_followed(place, tmp_path, objective):
    command = f"pretrain clips.csv -o {tmp_path}/run --objective {objective} --epochs 1 {HEARD} {SMALL}"
    status, out, err = ossicle(command, place[0])
    assert (status, err.count("epoch 1/1")) == (0, 1), (out, err)
    planned = pretraining(place[0] / "clips.csv", objective=objective, seconds=0.4)
    followed = json.loads((tmp_path / "run" / "recipe.json").read_text())
    assert followed["objective"] == to_dict(planned.objective)
    assert followed["views"] == to_dict(planned.views)
    assert followed["objective"]["name"] == objective
    status, out, err = ossicle(f"train clips.csv --from {tmp_path}/run -o {tmp_path}/rec --epochs 1 {SMALL}", place[0])
    assert status == 0, (out, err)


def test_plans_name_the_data_set(tmp_path):
    write_sounds(tmp_path)
    assert pretraining(tmp_path / "clips.csv").data.name == "csv"
    assert pretraining(tmp_path).data.name == "folder"
    assert pretraining(f"csv:{tmp_path / 'clips.csv'}").data.args == {"path": str(tmp_path / "clips.csv")}
    assert recognizer(tmp_path / "clips.csv").split.valid == "next"
    assert recognizer(tmp_path / "clips.csv", fold=1).split.valid is None


def test_the_window_and_rate_suit_the_recordings(tmp_path):
    write_sounds(tmp_path)
    heard = pretraining(tmp_path / "clips.csv").frontend.args
    assert (heard["seconds"], heard["sample_rate"]) == (0.5, RATE)
    asked = pretraining(tmp_path / "clips.csv", seconds=0.3).frontend.args
    assert (asked["seconds"], asked["sample_rate"]) == (0.3, RATE)
    soundfile.write(tmp_path / "long.wav", np.zeros(60 * 48_000), 48_000)
    (tmp_path / "long.csv").write_text("filename,label\nlong.wav,?\n")
    assert pretraining(tmp_path / "long.csv").frontend.args["seconds"] == 5.0
    assert pretraining(tmp_path / "long.csv").frontend.args["sample_rate"] == 22_050


def test_what_is_asked_for_beside_a_start_changes_the_front_end_that_it_has(place):
    with contextlib.chdir(place[0]):
        inherited = recognizer("clips.csv", start="pre", fold=1).frontend
        shorter = recognizer("clips.csv", start="pre", fold=1, seconds=0.2).frontend
    assert (inherited.args["mels"], inherited.args["seconds"]) == (32, 0.4)
    assert shorter.args == {**inherited.args, "seconds": 0.2}


def test_folders_of_folds_are_evaluated_run_by_run_and_unlabelled_sound_asks_for_labels(tmp_path):
    write_sounds(tmp_path)
    assert ossicle(f"pretrain clips.csv -o pres --folds --epochs 1 {SMALL}", tmp_path)[0] == 0
    status, out, err = ossicle("evaluate pres", tmp_path)
    assert (status, out.count("kNN")) == (0, 2), err
    assert "next  ossicle train LABELLED --from pres" in out
    status, out, err = ossicle(f"pretrain . -o deaf --segment 0.25 --epochs 1 {SMALL}", tmp_path)
    assert status == 0, err
    assert "next  ossicle train LABELLED --from deaf" in out
    assert json.loads((tmp_path / "deaf" / "data.json").read_text())["clips"]["train"] == 40
