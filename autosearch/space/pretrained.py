"""Networks that were trained before: which one, how much of it, and how fast it may change."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import PrivateAttr, model_validator

from autosearch.errors import DefinitionError
from autosearch.space.domain import FloatDomain, Options, Range, Reals, Space, sample
from autosearch.space.hyperparameters import HyperParameters
from autosearch.values import Estimate

__all__ = ["APPLICATIONS", "Application", "Origin", "Pretrained", "PretrainedConfig"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Application:
    """A network of ``keras.applications`` that can be a backbone.

    Attributes:
        pixels: What its first layer takes: "raw" 0–255, "symmetric" −1 to 1, or "standardized"
            by ImageNet's mean and deviation.
        least_size: The smallest height and width that it takes.
        widths: The width multipliers that there are; none where the width is fixed.
        imagenet_widths: Those that have ImageNet weights.
    """

    pixels: Literal["raw", "symmetric", "standardized"]
    least_size: int = 32
    widths: tuple[float, ...] = ()
    imagenet_widths: tuple[float, ...] = ()


# Left out: ResNet and VGG of the first generation, which take BGR with the mean subtracted;
# EfficientNet of the first, whose graph differs between weights by name and from a file; NASNet,
# whose ImageNet weights fit one image size alone. A .keras file of theirs is welcome.
APPLICATIONS = {
    "MobileNet": Application(
        pixels="symmetric", widths=(0.25, 0.5, 0.75, 1.0), imagenet_widths=(0.25, 0.5, 0.75, 1.0)
    ),
    "MobileNetV2": Application(
        pixels="symmetric",
        widths=(0.35, 0.5, 0.75, 1.0, 1.3, 1.4),
        imagenet_widths=(0.35, 0.5, 0.75, 1.0, 1.3, 1.4),
    ),
    "MobileNetV3Small": Application(
        pixels="raw", widths=(0.35, 0.5, 0.75, 1.0), imagenet_widths=(0.75, 1.0)
    ),
    "MobileNetV3Large": Application(
        pixels="raw", widths=(0.35, 0.5, 0.75, 1.0), imagenet_widths=(0.75, 1.0)
    ),
    "EfficientNetV2B0": Application(pixels="raw"),
    "EfficientNetV2B1": Application(pixels="raw"),
    "EfficientNetV2B2": Application(pixels="raw"),
    "EfficientNetV2B3": Application(pixels="raw"),
    "DenseNet121": Application(pixels="standardized"),
    "DenseNet169": Application(pixels="standardized"),
    "ResNet50V2": Application(pixels="symmetric"),
    "ResNet101V2": Application(pixels="symmetric"),
    "InceptionV3": Application(pixels="symmetric", least_size=75),
    "Xception": Application(pixels="symmetric", least_size=71),
}
"""The backbones that are known by name."""


@dataclass(frozen=True, slots=True)
class PretrainedConfig:
    """One network made from a trained one.

    Attributes:
        width: what the channels of the backbone are multiplied by.
        cut: share of the backbone's blocks that is kept, from the image on.
        fine_tune_depth: share of the kept layers that is trained, from the head down.
        learning_rate_ratio: the backbone's learning rate relative to that of the new head.
        dropout: share of the features that is dropped in training.
    """

    width: float
    cut: float
    fine_tune_depth: float
    learning_rate_ratio: float
    dropout: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """The images that a promoted network was made with.

    Attributes:
        study: The study that found it.
        fingerprint: Of its images and their split; None if nobody knows.
        is_refit: Whether it was fitted on its validation images, too.
        definition: Of its dataset.
        sides: SHA-256 of each file → its split; None if the images are no files, or nobody knows.
    """

    study: str
    fingerprint: str | None
    is_refit: bool
    definition: Mapping[str, Any]
    sides: Mapping[str, str] | None


class Pretrained(Space):
    """The space of networks made from a trained one: a backbone, cut off somewhere, and a new head.

    Args:
        source: a name out of :data:`APPLICATIONS`, or a ``.keras`` file, whose own head is cut off.

    Attributes:
        source: see above. A file is told by its content: another content is another study.
        weights: "imagenet", which Keras downloads once; a ``.weights.h5`` or ``.h5`` file of the
            network without its top; or None to train from random weights, and then all of it at
            the full learning rate. Of a ``.keras`` source the weights are its own.
        width: width multipliers of a MobileNet, from those that the weights exist for; 1.0
            elsewhere.
        cut: share of the backbone's blocks that is kept, above 0 up to 1. What is cut off is not in
            the file that ships.
        fine_tune_depth: share of the kept layers that is trained: 0 is the new head alone, 1 is
            everything. Batch normalization below stays as it was trained.
        learning_rate_ratio: the backbone's learning rate relative to that of the head. Weight decay
            is not slowed.
        dropout: 0 to 0.9.
        rescaling: what a ``.keras`` source takes: pixels "raw" 0–255, as every network of
            autosearch does, "unit" 0 to 1, or "symmetric" −1 to 1.
        source_sha256: of a source that is a file; found by itself.
        weights_sha256: of weights that are a file; found by itself.

    Example:
        >>> Pretrained("MobileNetV2", width=[0.35, 0.5], cut=(0.3, 1.0)).source
        'MobileNetV2'
    """

    source: str
    weights: str | None = "imagenet"
    width: Annotated[FloatDomain, Reals(0.0, 2.0, above=True)] = 1.0
    cut: Annotated[FloatDomain, Reals(0.0, 1.0, above=True)] = Options((0.25, 0.5, 0.75, 1.0))
    fine_tune_depth: Annotated[FloatDomain, Reals(0.0, 1.0)] = Options((0.0, 0.25, 0.5, 1.0))
    learning_rate_ratio: Annotated[FloatDomain, Reals(0.0, 1.0, above=True)] = Range(
        0.01, 1.0, log=True
    )
    dropout: Annotated[FloatDomain, Reals(0.0, 0.9)] = (0.0, 0.5)
    rescaling: Literal["raw", "unit", "symmetric"] = "raw"
    source_sha256: str | None = None
    weights_sha256: str | None = None

    # Not defined but known: the source's content identifies it, and only who starts a study asks.
    _origin: Origin | None = PrivateAttr(default=None)

    def __init__(self, source: Any = None, **data: Any) -> None:
        if source is not None:
            data["source"] = str(source)
        if isinstance(data.get("weights"), Path):
            data["weights"] = str(data["weights"])
        super().__init__(**data)

    @classmethod
    def from_model(
        cls,
        model: str,
        *,
        alias: str = "champion",
        storage: str | None = None,
        artifacts: str | None = None,
        **words: Any,
    ) -> Pretrained:
        """The space whose source is a promoted candidate of another study.

        On images of that study it is for the same split alone: a study does not begin if the
        candidate was fitted on images that are to judge it, as a finalist was on the validation
        images. Its own finalists are then not judged by cross-validation.

        Args:
            model: The model that it was promoted to.
            alias: Of the promotion.
            storage: The database; ``AUTOSEARCH_STORAGE`` or ``autosearch.db`` by default.
            artifacts: Where its files are; beside the database by default.
            words: What else the space is given, such as ``cut``.

        Raises:
            NotFoundError: There is no such model or alias.
            DefinitionError: It was promoted without its trained network.
        """
        from autosearch.store.artifacts import ArtifactStore
        from autosearch.store.database import Database
        from autosearch.store.promotions import current_promotion
        from autosearch.store.view import known_study

        database = Database.open_to_read(storage)
        promotion = current_promotion(database, model, alias)
        if promotion.keras_sha256 is None:
            raise DefinitionError(
                f'"{model}@{alias}" was promoted without its trained network; promote a candidate '
                "that Keras trained, or name a .keras file: Pretrained('FILE.keras')"
            )
        store, record = ArtifactStore.beside(database, artifacts), promotion.record
        space = cls(
            store.url(promotion.keras_sha256), source_sha256=promotion.keras_sha256, **words
        )
        study, searched_on = str(record["study"]), record["dataset"]
        view = known_study(database, store, study, begun_by=promotion.promoted_at)
        space._origin = Origin(
            study=study,
            fingerprint=searched_on["fingerprint"],
            is_refit=record["validation"].get("estimate") == Estimate.CROSS_VALIDATION,
            definition=searched_on["definition"],
            sides=view.sides() if view is not None else None,
        )
        return space

    @model_validator(mode="before")
    @classmethod
    def _with_files(cls, words: dict[str, Any]) -> dict[str, Any]:
        words = dict(words)
        source = words.get("source")
        if not isinstance(source, str):
            raise ValueError(f"source {source!r} is no name; write {_expected_source()}")
        if source not in APPLICATIONS:
            if words.get("source_sha256") is None:
                if not source.endswith(".keras"):
                    raise ValueError(f'source "{source}" is unknown; write {_expected_source()}')
                words["source_sha256"] = _sha256(source, "source")
            if words.setdefault("weights", None) is not None:
                raise ValueError("a .keras source has its own weights; leave weights out")
            return words
        weights = words.get("weights", "imagenet")
        if weights not in ("imagenet", None) and words.get("weights_sha256") is None:
            if not isinstance(weights, str) or not weights.endswith(".h5"):
                raise ValueError(
                    f'weights {weights!r} are unknown; write "imagenet", a .weights.h5 or .h5 '
                    "file, or None"
                )
            words["weights_sha256"] = _sha256(weights, "weights")
        return words

    @model_validator(mode="after")
    def _fits_its_source(self) -> Pretrained:
        application = self.application
        widths = _values(self.width)
        if application is None:
            known: tuple[float, ...] = ()
        elif self.weights == "imagenet":
            known = application.imagenet_widths
        else:
            known = application.widths
        if widths is None:
            raise ValueError("width is a range; write a list of choices")
        unknown = [width for width in widths if width not in (known or (1.0,))]
        if unknown:
            what = f"{self.source} with {self.weights or 'random'} weights"
            choices = ", ".join(map(str, known)) or "1.0, for its width is fixed"
            raise ValueError(f"width {unknown[0]} is not one of {what}; write {choices}")
        if self.weights_sha256 is not None and len(widths) > 1:
            raise ValueError(
                f'the weights of "{self.weights}" fit one width; write that width alone, and one '
                "Pretrained(...) for each file"
            )
        if application is not None and self.rescaling != "raw":
            raise ValueError(f"rescaling is for .keras files; {self.source} brings its own")
        return self

    @property
    def origin(self) -> Origin | None:
        """What a source ``from_model`` was made with; None of any other, and of a stored space."""
        return self._origin

    @property
    def application(self) -> Application | None:
        """The network that ``source`` names; None if it is a file."""
        return APPLICATIONS.get(self.source)

    def sample(self, hp: HyperParameters) -> PretrainedConfig:
        """Return one configuration of the space; parameters are named ``architecture/…``."""
        is_random = self.application is not None and self.weights is None
        with hp.name_scope("architecture"):
            depth = 1.0 if is_random else sample(hp, "fine_tune_depth", self.fine_tune_depth)
            # The rate of what is frozen would only mislead the sampler.
            slows = not is_random and depth > 0
            return PretrainedConfig(
                width=sample(hp, "width", self.width),
                cut=sample(hp, "cut", self.cut),
                fine_tune_depth=depth,
                learning_rate_ratio=(
                    sample(hp, "learning_rate_ratio", self.learning_rate_ratio) if slows else 1.0
                ),
                dropout=sample(hp, "dropout", self.dropout),
            )


def _values(domain: Any) -> tuple[float, ...] | None:
    if isinstance(domain, Range):
        return None
    return tuple(domain) if isinstance(domain, Options) else (domain,)


def _sha256(path: str, what: str) -> str:
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except OSError as error:
        raise ValueError(
            f'{what} "{path}" cannot be read ({error.strerror}); name a file that is there'
        ) from error


def _expected_source() -> str:
    return f"a .keras file, or one of {_listed(APPLICATIONS)}"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names)
