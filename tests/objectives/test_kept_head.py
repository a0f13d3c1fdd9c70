"""A classifier that begins with the rows of the head that an earlier one has for the same classes."""

import pytest
import torch

from ossicle import assemble
from ossicle.data.manifest import Clip, Manifest
from ossicle.model import Backbone, Classifier
from ossicle.recipe import RecipeError, Spec, from_dict

FRONTEND = Spec("logmel", {"sample_rate": 8000, "seconds": 0.4, "n_fft": 256, "hop": 128, "mels": 16})
ENCODER = Spec("small", {"width": 2, "attention": 8})


@pytest.fixture(scope="module")
def earlier(tmp_path_factory):
    """A folder with a classifier of three classes, and the classifier."""
    torch.manual_seed(1)
    made = Classifier(Backbone(FRONTEND, ENCODER), ("dog", "rain", "rooster"))
    made.save(place := tmp_path_factory.mktemp("earlier"))
    return place, made


def made(head, classes, **changes):
    """The objective of a recipe for these classes, and the notes that were told."""
    tree = {"frontend": FRONTEND, "encoder": ENCODER, "stages": [{"epochs": 1}], "data": {"name": "csv", "path": "x"}}
    recipe = from_dict(tree | {"objective": {"name": "supervised", "head": str(head)}} | changes)
    clips = [Clip(f"{label}.wav", label, (label,)) for label in classes]
    notes = []
    objective = assemble.objective(recipe, Manifest.of("m", clips), lambda kind, row: notes.append(row["note"]))
    return objective, notes


def test_rows_go_with_their_names_and_others_stay_as_drawn(earlier):
    place, known = earlier
    head, notes = (made(place, ("rain", "cat", "dog"))[0].model.head, made(place, ("rain", "cat", "dog"))[1])
    fresh = made("", ("rain", "cat", "dog"))[0].model.head
    there = known.head.state_dict()
    for name, value in head.state_dict().items():  # classes are sorted: cat, dog, rain
        assert torch.equal(value[1:], there[name][:2])
        assert torch.equal(value[0], fresh.state_dict()[name][0])
    assert notes == [f"{place} knows 2 of 3 classes, and their rows of the head are kept; fresh: cat"]


def test_a_start_and_a_head_together_answer_as_before(earlier):
    place, known = earlier
    model = made(place, known.labels, start=str(place))[0].model.eval()
    wave = torch.randn(2, 1, known.window, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(model(wave), known.eval()(wave))


def test_a_head_that_does_not_fit_is_refused(earlier, tmp_path):
    place, known = earlier
    with pytest.raises(RecipeError, match="knows none of the classes here \\(bee, cat\\): leave it out"):
        made(place, ("bee", "cat"))
    with pytest.raises(RecipeError, match="reads features of 64 values, and the encoder here gives 32"):
        made(place, ("cat", "dog"), encoder={"name": "resnet", "depth": 18, "width": 4})
    known.backbone.save(tmp_path / "encoder")
    with pytest.raises(RecipeError, match="encoder is not a classifier of one label a clip"):
        made(tmp_path / "encoder", ("cat", "dog"))
