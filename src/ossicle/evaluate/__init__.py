"""A model and clips -> (n, K) probabilities, (n, D) features, and what they are worth.

exam.py       final, curve: the only readers of a test fold
glance.py     watch, validate: what training is shown of a validation part, and what its result says of it
conditions.py the same scores by device and by city
predict.py    predict, embed, calibrate: a model's answers, a clip's being the mean over its windows
measures.py   metrics, kNN, linear probe, temperature: arrays in, numbers out
intervals.py  the bootstrap over recordings and the t over folds
budgets.py    what runs spent, and whether two sides spent alike
submission.py what a challenge is sent
answers.py    predictions.csv, and two sets of runs compared clip by clip
ensemble.py   several runs' answers as one
"""

from ossicle.evaluate.answers import compare
from ossicle.evaluate.ensemble import ensemble
from ossicle.evaluate.exam import EvaluationError, curve, final
from ossicle.evaluate.glance import validate, watch
from ossicle.evaluate.intervals import Interval, bootstrap, paired, paired_t
from ossicle.evaluate.measures import knn, linear_probe, metrics
from ossicle.evaluate.predict import Prediction, calibrate, embed, predict
from ossicle.evaluate.submission import submit

__all__ = [
    "EvaluationError",
    "Interval",
    "Prediction",
    "bootstrap",
    "calibrate",
    "compare",
    "curve",
    "embed",
    "ensemble",
    "final",
    "knn",
    "linear_probe",
    "metrics",
    "paired",
    "paired_t",
    "predict",
    "submit",
    "validate",
    "watch",
]
