"""Answers of models, in any convention that models speak: hostile values to `Detections`."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerForm:
    """How a model spells what it found."""

    convention: str = "auto"
    """Name of a convention."""
    classes: tuple[str, ...] = ()
    """Names of class numbers, from 0."""
