"""What a bundle's config says, as sentences for people."""

from __future__ import annotations

from ossicle.deploy.config import INT8, MODEL, Config


def by_int8(config: Config) -> str:
    """What the model of 8 bit costs in accuracy, and its file's share of the other's."""
    if config.int8 is None:
        return f"no {INT8}: the clips that the run learned from are not there, or not one layer bears 8 bit"
    told = config.int8
    share = config.files[INT8]["bytes"] / config.files[MODEL]["bytes"]
    left = ", ".join(f"{layer} (alone it moved {100 * cost:.1f} %)" for layer, cost in told["left"].items())
    return (
        f"{INT8}: {told['measure']} {100 * told['score']:.1f} % on {told['clips']} {told['part']} clips, in float "
        f"{100 * told['float_score']:.1f} %; {100 * share:.0f} % of the bytes"
        + (f"; left in float: {left}" if left else "")
    )
