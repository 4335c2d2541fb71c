"""Decode model answers of any known convention into `Detections`.

`answers` picks the convention and calls its reader: `peers` (one JSON object a detection), `masks`
(arrays of boxes and masks) or `tensors` (.npy, KServe V2). `shapes` and `columns` check the values.
"""

from dataclasses import dataclass

from daskmr.errors import UnknownNameError

AUTO = "auto"
"""Detect the convention from the answer."""

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
    """The convention of a model's answers, and the names of its classes.

    Raises
    ------
    UnknownNameError
        When `convention` is not one of `NAMES`.

    Examples
    --------
    >>> AnswerForm(convention="COCO", classes=("ship", "car")).convention
    'coco'
    """

    convention: str = AUTO
    """One of `NAMES`, in any case."""
    classes: tuple[str, ...] = ()
    """Names of class numbers, from 0; a number without a name is written as text."""

    def __post_init__(self) -> None:
        name = str(self.convention).lower()
        if name not in NAMES:
            msg = f"unknown answer format {self.convention!a}; known: {', '.join(NAMES)}"
            raise UnknownNameError(msg)
        object.__setattr__(self, "convention", name)
        object.__setattr__(self, "classes", tuple(self.classes))
