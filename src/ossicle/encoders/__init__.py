"""Networks that turn an image into a feature."""

from ossicle.encoders.crnn import CRNN
from ossicle.encoders.crosstask import CMAM, JRM, VFM
from ossicle.encoders.densenet import DenseNet
from ossicle.encoders.resnet import ResNet
from ossicle.encoders.small import SmallCNN
from ossicle.encoders.vgg import VGG
from ossicle.encoders.vggish import VGGish

ENCODERS = {
    "resnet": ResNet,
    "densenet": DenseNet,
    "vgg": VGG,
    "crnn": CRNN,
    "small": SmallCNN,
    "vggish": VGGish,
    "vfm": VFM,
    "jrm": JRM,
    "cmam": CMAM,
}

__all__ = ["CMAM", "CRNN", "ENCODERS", "JRM", "VFM", "VGG", "DenseNet", "ResNet", "SmallCNN", "VGGish"]
