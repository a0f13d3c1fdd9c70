"""Networks that turn an image into a feature."""

from ossicle.encoders.crnn import CRNN
from ossicle.encoders.densenet import DenseNet
from ossicle.encoders.resnet import ResNet
from ossicle.encoders.small import SmallCNN
from ossicle.encoders.vgg import VGG
from ossicle.encoders.vggish import VGGish

ENCODERS = {"resnet": ResNet, "densenet": DenseNet, "vgg": VGG, "crnn": CRNN, "small": SmallCNN, "vggish": VGGish}

__all__ = ["CRNN", "ENCODERS", "VGG", "DenseNet", "ResNet", "SmallCNN", "VGGish"]
