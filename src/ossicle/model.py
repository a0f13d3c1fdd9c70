"""wave (B, C, T) -> feature (B, D) -> score (B, K): front end, encoder and head as one module, saved as one folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ossicle import checkpoint
from ossicle.encoders import ENCODERS
from ossicle.frontends import FRONTENDS
from ossicle.recipe import RecipeError, Spec, to_dict


class Backbone(nn.Module):
    """(B, C, T) -> (B, D): a front end and an encoder, with the mean and deviation of the images that it learned from.

    Audio channels share the encoder's weights and their features are summed (ESResNet). `precision` "bf16" runs the
    encoder under autocast; the front end, normalization and whatever follows stay in float32. `as_is` says that the
    encoder learned from images whose mean and deviation nobody took away: these stay at 0 and 1 then.
    """

    kind = "backbone"
    mean: Tensor
    sd: Tensor

    def __init__(self, frontend: Spec, encoder: Spec, *, policy: str = "repeat", channels: int = 1):
        super().__init__()
        self.specs = {"frontend": frontend, "encoder": encoder}
        self.policy, self.channels = policy, channels
        self.precision, self.as_is = "fp32", False
        self.frontend = _listener(frontend, policy)
        self.encoder = encoder.build(ENCODERS, maps=self.frontend.maps, bins=self.frontend.bins)
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("sd", torch.ones(()))

    @property
    def dim(self) -> int:
        """D, the size of a feature."""
        return self.encoder.dim

    @property
    def sample_rate(self) -> int:
        """The rate of the samples that go in, Hz."""
        return self.frontend.sample_rate

    @property
    def window(self) -> int:
        """The length that the model hears at once, samples."""
        return round(self.frontend.seconds * self.sample_rate)

    @property
    def unfitted(self) -> bool:
        """Whether the normalization still waits for images to be fitted to."""
        return not self.as_is and float(self.mean) == 0 and float(self.sd) == 1

    @torch.no_grad()
    def normalize_as(self, other: Backbone) -> None:
        """Takes over another's mean and deviation, or that there are none."""
        self.mean.copy_(other.mean)
        self.sd.copy_(other.sd)
        self.as_is = other.as_is

    def hear(self, frontend: Spec) -> None:
        """Changes the front end and keeps the encoder; the normalization must be fitted again.

        RecipeError where it hears at another rate than before, or makes images that the encoder's weights do not fit.
        """
        made = _listener(frontend, self.policy).to(self.mean.device)
        if made.sample_rate != self.sample_rate:
            raise RecipeError(
                f"'{frontend.name}' of a stage hears at {made.sample_rate} Hz, and before it was {self.sample_rate} "
                "Hz: sound is decoded for one rate, so give all front ends the same sample_rate"
            )
        if self._form(made) != self._form(self.frontend):
            before = f"{self.frontend.bins} bins and {self.frontend.maps} maps"
            raise RecipeError(
                f"'{frontend.name}' of a stage makes images of {made.bins} bins and {made.maps} maps, and the layers "
                f"of '{self.specs['encoder'].name}' are for {before}: give stages front ends that agree in these, or "
                "take an encoder for images of any size, as resnet is"
            )
        self.frontend = made
        self.specs["frontend"] = frontend

    def _form(self, frontend: Any) -> tuple[str, dict[str, torch.Size]]:
        """The layers and the shapes of all weights that an encoder for this front end's images has."""
        with torch.device("meta"):
            fresh = self.specs["encoder"].build(ENCODERS, maps=frontend.maps, bins=frontend.bins)
        return repr(fresh), {name: value.shape for name, value in fresh.state_dict().items()}

    def encode(self, image: Tensor) -> Tensor:
        """(B, C, M, F, N) images, not normalized -> (B, D) float32."""
        image = (image - self.mean) / self.sd
        flat = image.flatten(0, 1).contiguous(memory_format=torch.channels_last)
        with torch.autocast(flat.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            feature = self.encoder(flat)
        return feature.float().unflatten(0, image.shape[:2]).sum(1)

    def forward(self, wave: Tensor) -> Tensor:
        return self.encode(self.frontend(wave))

    @torch.no_grad()
    def fit_normalization(self, images: Sequence[Tensor]) -> None:
        """One mean and one deviation over all values of these images. A silent set leaves the deviation at 1."""
        count = sum(image.numel() for image in images)
        mean = sum(image.double().sum() for image in images) / count
        spread = sum((image.double() - mean).square().sum() for image in images) / count
        self.mean.fill_(float(mean))
        self.sd.fill_(float(spread) ** 0.5 if float(spread) > 1e-12 else 1.0)

    def config(self) -> dict[str, Any]:
        """What rebuilds this module: plain values for config.json."""
        described = {"kind": self.kind, "policy": self.policy, "channels": self.channels, "as_is": self.as_is}
        return described | {name: to_dict(spec) for name, spec in self.specs.items()}

    def save(self, folder: str | Path, **info: Any) -> None:
        """Writes model.safetensors, config.json and their hashes, all or nothing."""
        checkpoint.save(Path(folder), self.state_dict(), self.config() | info)


class Classifier(nn.Module):
    """(B, C, T) -> (B, K) logits: a backbone, a linear head and the names of its classes. The only thing that is
    deployed.
    """

    kind = "classifier"
    temperature: Tensor

    def __init__(self, backbone: Backbone, labels: Sequence[str], *, multilabel: bool = False):
        super().__init__()
        self.backbone = backbone
        self.labels, self.multilabel = tuple(labels), multilabel
        self.head = nn.Linear(backbone.dim, len(self.labels))
        self.register_buffer("temperature", torch.ones(()))

    sample_rate = property(lambda self: self.backbone.sample_rate)
    window = property(lambda self: self.backbone.window)
    policy = property(lambda self: self.backbone.policy)
    channels = property(lambda self: self.backbone.channels)

    def forward(self, wave: Tensor) -> Tensor:
        return self.head(self.backbone(wave))

    def probability(self, logits: Tensor) -> Tensor:
        """(B, K) logits -> probabilities: softmax, or a sigmoid a class, of logits / temperature (Guo et al. 2017)."""
        scaled = logits / self.temperature
        return scaled.sigmoid() if self.multilabel else scaled.softmax(-1)

    def config(self) -> dict[str, Any]:
        """What rebuilds this module: plain values for config.json."""
        own = {"kind": self.kind, "labels": list(self.labels), "multilabel": self.multilabel}
        return self.backbone.config() | own

    def save(self, folder: str | Path, **info: Any) -> None:
        """Writes model.safetensors, config.json and their hashes, all or nothing."""
        checkpoint.save(Path(folder), self.state_dict(), self.config() | info)


def load(folder: str | Path) -> Backbone | Classifier:
    """The model in a folder, in evaluation mode. A run's folder stands for the model inside it.

    CheckpointError where a file is missing, damaged or not ours; nothing that is loaded can run code.
    """
    folder = Path(folder)
    tensors, config = checkpoint.load(folder / "model" if (folder / "recipe.json").exists() else folder)
    model = rebuild(config)
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        raise checkpoint.CheckpointError(
            f"{folder}: the weights do not fit the model in its config.json: {error}"
        ) from error
    return model.eval()


def rebuild(config: Mapping[str, Any]) -> Backbone | Classifier:
    """The module that a config describes, with fresh weights."""
    if config.get("kind") not in (Backbone.kind, Classifier.kind):
        raise checkpoint.CheckpointError(
            f"config.json says kind '{config.get('kind')}'; wanted 'backbone' or 'classifier'"
        )
    frontend, encoder = (_spec(config[name]) for name in ("frontend", "encoder"))
    backbone = Backbone(frontend, encoder, policy=config["policy"], channels=config["channels"])
    backbone.as_is = config.get("as_is", False)  # a model may be older than this
    if config["kind"] == Backbone.kind:
        return backbone
    return Classifier(backbone, config["labels"], multilabel=config["multilabel"])


def from_pretrained(name: str | Path) -> Backbone | Classifier:
    """A model from a folder, or from the hub by `owner/name` (needs `ossicle[hub]`)."""
    if Path(name).exists():
        return load(name)
    try:
        from huggingface_hub import snapshot_download
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            f"{name} is no folder here, and the hub needs an extra: pip install 'ossicle[hub]'", name="huggingface_hub"
        ) from None
    return load(snapshot_download(str(name), allow_patterns=["*.safetensors", "*.json"]))


def _listener(frontend: Spec, policy: str) -> Any:
    """The front end, unless it wants short clips brought to length in another way."""
    made = frontend.build(FRONTENDS)
    wanted = getattr(made, "policy", None) or policy
    if wanted != policy:
        raise RecipeError(
            f"policy is '{policy}', and '{frontend.name}' hears whole clips and repeats their images by itself: set "
            f"policy to '{wanted}'"
        )
    return made


def _spec(tree: Mapping[str, Any]) -> Spec:
    return Spec(tree["name"], {name: value for name, value in tree.items() if name != "name"})
