"""From unlabelled recordings to a small sound recognizer on the device where the sound is."""

__version__ = "0.1.0"
