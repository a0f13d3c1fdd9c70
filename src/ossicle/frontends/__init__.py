"""What a model hears: modules that turn waves into images, without learned state and without randomness."""

from ossicle.frontends.bands import Bands
from ossicle.frontends.clipmel import ClipMel
from ossicle.frontends.logmel import LogMel
from ossicle.frontends.resized import WHOLE, Resized
from ossicle.frontends.vggish import VGGishMel

FRONTENDS = {**WHOLE, "resized": Resized}

__all__ = ["FRONTENDS", "Bands", "ClipMel", "LogMel", "Resized", "VGGishMel"]
