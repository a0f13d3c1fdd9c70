"""A trained classifier on a device: one folder to carry there, samples in, events out, no torch."""
