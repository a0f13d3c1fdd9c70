import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ossicle.data.loader import Batch
from ossicle.draw import Draw
from ossicle.objectives.distill import Distill, Lesson, turn

CLIPS, CLASSES = 6, 3


class Model(nn.Module):
    """A classifier of one matrix, whose images are its waves."""

    def __init__(self, multilabel=False, seed=0):
        super().__init__()
        self.labels, self.multilabel = tuple("abc"), multilabel
        torch.manual_seed(seed)
        self.head = nn.Linear(5, CLASSES)

    backbone = property(lambda self: self)

    def encode(self, image):
        return image

    def probability(self, logits):
        return logits.sigmoid() if self.multilabel else logits.softmax(-1)


def as_is(wave, draw):
    return wave


def batch_of(target=(0, 1, 2, -1, -1, 0)):
    wave = torch.randn(CLIPS, 5, generator=torch.Generator().manual_seed(3))
    target = target if isinstance(target, torch.Tensor) else torch.tensor(target)
    rows = torch.arange(CLIPS)
    return Batch(wave, rows, target, rows, np.arange(CLIPS, dtype=np.uint64), rows >= 0)


def logits_of(teachers, scale=2.0):
    return scale * torch.randn(teachers, CLIPS, CLASSES, generator=torch.Generator().manual_seed(5))


def distill(logits, multilabel=False, **options):
    said = logits.sigmoid() if multilabel else logits.softmax(-1)
    lesson = Lesson(tuple("abc"), multilabel, said)
    return Distill(Model(multilabel), as_is, lesson, teachers=["runs/t"] * len(logits), **options)


def draws(epoch=0):
    return Draw(0, epoch, np.arange(CLIPS, dtype=np.uint64))


def loss(objective, batch, epoch=0):
    return objective(batch, draws(epoch))["loss"].item()


def test_the_loss_is_the_documents_sum_over_classes():
    objective, batch = distill(logits_of(1)), batch_of()
    answers = objective.model.head(batch.wave).softmax(1).tolist()
    taught = logits_of(1)[0].softmax(1).tolist()
    sums = [-sum(q * np.log(p) for q, p in zip(*rows, strict=True)) for rows in zip(taught, answers, strict=True)]
    assert loss(objective, batch) == pytest.approx(np.mean(sums), rel=1e-6)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_divergence_is_the_kullback_leibler_of_the_softened(temperature):
    objective, batch = distill(logits_of(1), temperature=temperature), batch_of()
    told = objective(batch, draws())
    student = (objective.model.head(batch.wave) / temperature).log_softmax(1)
    expected = F.kl_div(student, (logits_of(1)[0] / temperature).log_softmax(1), log_target=True, reduction="batchmean")
    assert float(told["divergence"]) == pytest.approx(expected.item(), rel=1e-4, abs=1e-6)


def test_at_a_high_temperature_the_gradient_is_the_difference_of_centered_logits():
    """Hinton, Vinyals and Dean 2015, eq. 4, times T^2: (z_i - v_i) / K where both have mean zero."""
    objective, batch, answers = distill(logits_of(1), temperature=500.0), batch_of(), []
    objective.model.head.register_forward_hook(lambda layer, given, made: (made.retain_grad(), answers.append(made))[1])
    objective(batch, draws())["loss"].backward()
    student, teacher = (each - each.mean(1, keepdim=True) for each in (answers[0].detach(), logits_of(1)[0]))
    expected = (student - teacher) / CLASSES / CLIPS
    torch.testing.assert_close(answers[0].grad, expected, rtol=0.02, atol=2e-3)


def test_a_student_that_says_what_it_is_taught_has_nothing_to_learn():
    batch = batch_of()
    objective = distill(Model().head(batch.wave).detach()[None], temperature=2.0)
    told = objective(batch, draws())
    told["loss"].backward()
    assert float(told["agreement"]) == 1
    assert float(told["divergence"]) == pytest.approx(0, abs=1e-6)
    assert objective.model.head.weight.grad.abs().max() < 1e-6


@pytest.mark.parametrize("teachers", [2, 3])
@pytest.mark.parametrize("epoch", [0, 1, 2])
def test_every_clip_meets_each_teacher_once_in_as_many_epochs(teachers, epoch):
    turns = torch.stack([turn(draws(teachers * epoch + each), teachers) for each in range(teachers)])
    assert turns.sort(0).values.T.tolist() == [list(range(teachers))] * CLIPS


def test_turns_differ_among_clips():
    crowd = Draw(0, 0, np.arange(400, dtype=np.uint64))
    assert 150 < int(turn(crowd, 2).sum()) < 250


@pytest.mark.parametrize("multilabel", [False, True])
@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_copies_of_the_data_mean_the_loss_of_the_mean_probability(temperature, multilabel):
    """Fukuda's augmented training and averaging have one loss in expectation: it is linear in what is taught."""
    target = torch.zeros(CLIPS, CLASSES) if multilabel else (0, 1, 2, -1, -1, 0)
    batch, options = batch_of(target), {"temperature": temperature, "hard": 0.3, "multilabel": multilabel}
    copies = distill(logits_of(3), how="augmented", **options)
    losses = [loss(copies, batch, epoch) for epoch in range(3)]
    whole = loss(distill(logits_of(3), how="average", **options), batch)
    assert np.mean(losses) == pytest.approx(whole, rel=1e-5)
    assert np.ptp(losses) > 1e-3


def test_the_mean_of_logits_is_another_target():
    batch = batch_of()
    product = loss(distill(logits_of(2), how="logits"), batch)
    assert product == pytest.approx(loss(distill(logits_of(2).mean(0, keepdim=True)), batch), rel=1e-5)
    assert abs(product - loss(distill(logits_of(2)), batch)) > 1e-3


def test_of_a_clip_without_label_only_the_teachers_count():
    batch, soft = batch_of((-1,) * CLIPS), distill(logits_of(1), temperature=2.0)
    mixed = distill(logits_of(1), temperature=2.0, hard=0.7)
    assert loss(mixed, batch) == pytest.approx(loss(soft, batch), rel=1e-6)


def test_labels_alone_are_plain_cross_entropy():
    batch = batch_of((0, 1, 2, 2, 1, 0))
    objective = distill(logits_of(1), temperature=2.0, hard=1.0)
    expected = F.cross_entropy(objective.model.head(batch.wave), batch.target)
    assert loss(objective, batch) == pytest.approx(expected.item(), rel=1e-6)


def test_several_labels_a_clip_are_binary_cross_entropy_and_unknown_ones_do_not_count():
    target = torch.tensor([[1.0, 0, 1]] * 3 + [[float("nan")] * 3] * 3)
    objective, batch = distill(logits_of(1), multilabel=True, hard=0.5), batch_of(target)
    logits, soft = objective.model.head(batch.wave), logits_of(1)[0].sigmoid()
    entropy = nn.BCELoss()
    half = (entropy(logits[:3].sigmoid(), target[:3]) + entropy(logits[:3].sigmoid(), soft[:3])) / 2
    expected = (half + entropy(logits[3:].sigmoid(), soft[3:])) / 2
    assert loss(objective, batch) == pytest.approx(expected.item(), rel=1e-5)


def test_teachers_who_are_present_hear_the_view_and_stay_out_of_what_is_trained():
    teacher = Model(seed=1).requires_grad_(False)
    lesson = Lesson(tuple("abc"), False, torch.zeros(0, 0, 3), (teacher,))

    def louder(wave, draw):
        return 2 * wave

    objective = Distill(Model(), louder, lesson, teachers=["runs/t"], hear="views")
    batch = batch_of()
    taught = teacher.head(2 * batch.wave).softmax(1)
    expected = -(taught * objective.model.head(2 * batch.wave).log_softmax(1)).sum(1).mean()
    assert loss(objective, batch) == pytest.approx(expected.item(), rel=1e-6)
    assert all(name.startswith("model.") for name in objective.state_dict())
    assert len(list(objective.parameters())) == 2


@pytest.mark.parametrize(
    ("wrong", "said"),
    [({"temperature": 0.0}, "above 0"), ({"hard": 1.5}, "a share"), ({"how": "vote"}, "average, augmented or logits")],
)
def test_settings_that_cannot_be_are_refused(wrong, said):
    with pytest.raises(ValueError, match=said):
        distill(logits_of(1), **wrong)
