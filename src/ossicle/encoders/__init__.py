"""Networks that turn an image into a feature."""

from ossicle.encoders.resnet import ResNet

ENCODERS = {"resnet": ResNet}

__all__ = ["ENCODERS", "ResNet"]
