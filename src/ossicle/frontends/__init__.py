"""What a model hears: modules that turn waves into images, without learned state and without randomness."""

from ossicle.frontends.logmel import LogMel

FRONTENDS = {"logmel": LogMel}

__all__ = ["FRONTENDS", "LogMel"]
