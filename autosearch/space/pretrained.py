"""Networks that have learned from other images: which one, how much of it, how it goes on."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, model_validator

from autosearch.errors import DefinitionError
from autosearch.space.domain import FloatDomain, Options, Range, Reals, Space, sample
from autosearch.space.hyperparameters import HyperParameters

__all__ = ["APPLICATIONS", "Application", "Pretrained", "PretrainedConfig"]


@dataclass(frozen=True, slots=True)
class Application:
    """What is to be known of a network of ``keras.applications``.

    Attributes:
        pixels: The values that it takes, as ``Pretrained.pixels`` has them.
        alphas: The width multipliers that it has weights for; none if it has no multiplier.
    """

    pixels: str
    alphas: tuple[float, ...] = ()


APPLICATIONS: dict[str, Application] = {
    "DenseNet121": Application("normalized"),
    "EfficientNetB0": Application("raw"),
    "EfficientNetV2B0": Application("raw"),
    "MobileNet": Application("symmetric", (0.25, 0.5, 0.75, 1.0)),
    "MobileNetV2": Application("symmetric", (0.35, 0.5, 0.75, 1.0, 1.3, 1.4)),
    "MobileNetV3Large": Application("raw", (0.75, 1.0)),
    "MobileNetV3Small": Application("raw", (0.75, 1.0)),
    "NASNetMobile": Application("symmetric"),
    "ResNet50V2": Application("symmetric"),
}
"""Those of ``keras.applications`` that suit a device, by the class's name in Keras."""

_PIXELS = ("raw", "unit", "symmetric", "normalized")


@dataclass(frozen=True, slots=True)
class PretrainedConfig:
    """One network that goes on learning.

    Attributes:
        source: A name of ``APPLICATIONS``, or the path of a ``.keras`` file.
        weights: "imagenet", the path of a weights file, or None for random ones.
        pixels: The values that its first layer takes.
        alpha: What its channels are multiplied by; None where it has no multiplier.
        cut: The share of its blocks that is kept.
        fine_tuned: The share of what is kept that goes on learning, counted from the end.
        learning_rate_ratio: Its learning rate relative to the new layers'.
        dropout: Share of the features that is dropped in training.
    """

    source: str
    weights: str | None
    pixels: str
    alpha: float | None
    cut: float
    fine_tuned: float
    learning_rate_ratio: float
    dropout: float

    @property
    def is_file(self) -> bool:
        """Whether the network comes from a file and brings its weights along."""
        return self.source not in APPLICATIONS

    @property
    def has_learned(self) -> bool:
        """Whether its weights are other than random."""
        return self.is_file or self.weights is not None


class Pretrained(Space):
    """A network that has learned from other images, cut off where it suits, and fine-tuned.

    Its last layers are replaced by pooling, dropout and one probability a class. Rescaling is part
    of the network: images are raw pixels, as everywhere.

    Args:
        source: The name of a network of ``keras.applications`` (see ``APPLICATIONS``), or the path
            of a ``.keras`` file, which may be what another study has trained: see ``promoted``.
            A file is opened in Keras's safe mode; one with code in it is refused.

    Attributes:
        weights: For a named network: "imagenet", which Keras downloads once; the path of a file
            of weights without the top layers; or None for random ones.
        pixels: What the network's first layer takes: "raw" (0 to 255), "unit" (0 to 1),
            "symmetric" (-1 to 1) or "normalized" (by ImageNet's mean and deviation). A named
            network knows it; of a file it is "raw" unless said otherwise.
        alpha: Width multiplier, for MobileNets.
        cut: The share of the network's blocks that is kept, above 0, up to 1. What is cut off
            costs no bytes and no time, and early features often serve small images better.
        fine_tuned: The share of the kept layers that goes on learning, counted from the end; 0
            trains the new layers alone. Batch statistics of a network that has learned stay.
        learning_rate_ratio: The network's learning rate relative to that of the new layers, above
            0, up to 1. Sampled only where some of it goes on learning.
        dropout: 0 to 0.9.
        source_sha256: Of the file, filled in by itself: another content is another study.

    Example:
        >>> Pretrained("MobileNetV2", alpha=[0.35, 0.5], cut=(0.3, 1.0)).weights
        'imagenet'
    """

    source: str = Field(min_length=1)
    weights: str | None = "imagenet"
    pixels: str = ""
    alpha: Annotated[FloatDomain, Reals(0.0, 2.0, above=True)] = 1.0
    cut: Annotated[FloatDomain, Reals(0.0, 1.0, above=True)] = Options((0.5, 0.75, 1.0))
    fine_tuned: Annotated[FloatDomain, Reals(0.0, 1.0)] = Options((0.0, 0.5, 1.0))
    learning_rate_ratio: Annotated[FloatDomain, Reals(0.0, 1.0, above=True)] = Range(
        0.01, 1.0, log=True
    )
    dropout: Annotated[FloatDomain, Reals(0.0, 0.9)] = (0.0, 0.5)
    source_sha256: str | None = None

    def __init__(self, source: str | None = None, **words: Any) -> None:
        if source is not None:
            words["source"] = str(source)
        named = words.get("source") in APPLICATIONS
        if "source" in words and not named:
            words.setdefault("weights", None)
            words.setdefault("pixels", "raw")
            words["source"] = str(Path(words["source"]).expanduser().absolute())
        elif named:
            words.setdefault("pixels", APPLICATIONS[words["source"]].pixels)
        for what, key in (("source", "source_sha256"), ("weights", "source_sha256")):
            path = words.get(what)
            if path is None or path in APPLICATIONS or path == "imagenet":
                continue
            words[what] = str(Path(path).expanduser().absolute())
            sha256 = _sha256(words[what], what)
            if words.setdefault(key, sha256) != sha256:
                raise DefinitionError(
                    f'"{path}" is not the file that the study was started with (its SHA-256 '
                    "differs); bring that file back, or give the study another name"
                )
        super().__init__(**words)

    @classmethod
    def promoted(
        cls,
        model: str,
        *,
        alias: str = "champion",
        storage: str | None = None,
        artifacts: str | None = None,
        **words: Any,
    ) -> Pretrained:
        """What was promoted to an alias of a model, as the network to go on from.

        Args:
            model: The model's name, as ``autosearch models`` lists it.
            alias: Which of its candidates.
            storage: The database; by default as everywhere.
            artifacts: Where its files are; by default beside the database.
            **words: Those of the class.

        Raises:
            NotFoundError: There is no such model or alias.
            DefinitionError: Nothing that can be trained on was promoted, or it is not on this
                machine.
        """
        from autosearch.store.artifacts import ArtifactStore
        from autosearch.store.database import Database
        from autosearch.store.promotions import current_promotion

        database = Database.open_to_read(storage)
        promotion = current_promotion(database, model, alias)
        store = ArtifactStore.beside(database, artifacts)
        sha256 = promotion.keras_sha256
        if sha256 is None or not Path(store.url(sha256)).is_file():
            raise DefinitionError(
                f'"{model}" at "{alias}" has no .keras file on this machine; export it and write '
                "Pretrained with the path of its model.keras"
            )
        return cls(store.url(sha256), **words)

    @model_validator(mode="after")
    def _fits_together(self) -> Pretrained:
        if self.pixels not in _PIXELS:
            raise ValueError(f'pixels "{self.pixels}" is not known; expected one of {_PIXELS}')
        known = APPLICATIONS.get(self.source)
        alphas = _values(self.alpha)
        if known is None:
            if self.weights is not None:
                raise ValueError("a .keras file has its weights in it; leave weights out")
            if alphas != (1.0,):
                raise ValueError("a .keras file has the width that it has; leave alpha out")
            return self
        if not known.alphas and alphas != (1.0,):
            raise ValueError(f"{self.source} has no width multiplier; leave alpha out")
        if self.weights == "imagenet" and known.alphas:
            missing = [alpha for alpha in alphas if alpha not in known.alphas]
            if missing or not isinstance(self.alpha, float | Options):
                raise ValueError(
                    f"alpha {missing or self.alpha} has no ImageNet weights for {self.source}; "
                    f"expected some of {list(known.alphas)}"
                )
        if self.weights not in (None, "imagenet") and len(alphas) > 1:
            raise ValueError("a file of weights fits one alpha alone; write one value")
        return self

    def sample(self, hp: HyperParameters) -> PretrainedConfig:
        """Return one configuration of the space; parameters are named ``architecture/…``."""
        has_alpha = bool(self.source in APPLICATIONS and APPLICATIONS[self.source].alphas)
        with hp.name_scope("architecture"):
            fine_tuned = float(sample(hp, "fine_tuned", self.fine_tuned))
            return PretrainedConfig(
                source=self.source,
                weights=self.weights,
                pixels=self.pixels,
                alpha=float(sample(hp, "alpha", self.alpha)) if has_alpha else None,
                cut=float(sample(hp, "cut", self.cut)),
                fine_tuned=fine_tuned,
                learning_rate_ratio=(
                    float(sample(hp, "learning_rate_ratio", self.learning_rate_ratio))
                    if fine_tuned
                    else 1.0
                ),
                dropout=float(sample(hp, "dropout", self.dropout)),
            )


def _values(domain: Any) -> tuple[Any, ...]:
    return tuple(domain) if isinstance(domain, Options) else (domain,)


def _sha256(path: str, what: str) -> str:
    expected = "a .keras file" if what == "source" else '"imagenet", None or a file of weights'
    names = f", or one of: {', '.join(APPLICATIONS)}" if what == "source" else ""
    if not Path(path).is_file():
        raise DefinitionError(f'{what} "{path}" is no file; expected {expected}{names}')
    stat = Path(path).stat()
    return _sha256_of(path, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=32)
def _sha256_of(path: str, _changed_ns: int, _size: int) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
