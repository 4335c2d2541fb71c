"""Answers of models, in any convention that models speak: hostile values to `Detections`."""

from dataclasses import dataclass

from daskmr.errors import UnknownNameError

AUTO = "auto"
"""The convention that an answer shows by itself."""

NAMES = (
    AUTO,
    "geojson",
    "coco",
    "huggingface",
    "roboflow",
    "ultralytics",
    "boxes",
    "kserve",
)
"""Conventions that `daskmr.decode.answers.decode` reads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerForm:
    """How a model spells what it found.

    Raises
    ------
    UnknownNameError
        When no convention has the name.

    Examples
    --------
    >>> AnswerForm(convention="COCO", classes=("ship", "car")).convention
    'coco'
    """

    convention: str = AUTO
    """One of `NAMES`, in any case."""
    classes: tuple[str, ...] = ()
    """Names of class numbers, from 0; a number that has none is its own name."""

    def __post_init__(self) -> None:
        name = str(self.convention).lower()
        if name not in NAMES:
            msg = f"unknown answer format {self.convention!a}; known: {', '.join(NAMES)}"
            raise UnknownNameError(msg)
        object.__setattr__(self, "convention", name)
        object.__setattr__(self, "classes", tuple(self.classes))
