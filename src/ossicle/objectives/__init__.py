"""What is learned: an objective owns the model and all that is trained with it, and turns a batch into a loss."""

from ossicle.objectives.contrastive import Contrastive
from ossicle.objectives.distill import Distill
from ossicle.objectives.joint import Joint
from ossicle.objectives.mimic import Mimic
from ossicle.objectives.npid import NPID
from ossicle.objectives.supervised import Supervised

OBJECTIVES = {
    "npid": NPID,
    "contrastive": Contrastive,
    "joint": Joint,
    "supervised": Supervised,
    "distill": Distill,
    "mimic": Mimic,
}
