"""Networks that turn an image into a feature."""

from ossicle.encoders.resnet import ResNet
from ossicle.encoders.small import SmallCNN

ENCODERS = {"resnet": ResNet, "small": SmallCNN}

__all__ = ["ENCODERS", "ResNet", "SmallCNN"]
