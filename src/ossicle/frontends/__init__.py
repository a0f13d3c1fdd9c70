"""What a model hears: modules that turn waves into images, without learned state and without randomness."""

from ossicle.frontends.bands import Bands
from ossicle.frontends.logmel import LogMel

FRONTENDS = {"logmel": LogMel, "bands": Bands}

__all__ = ["FRONTENDS", "Bands", "LogMel"]
