"""Answers of models, in any convention that models speak: hostile values to `Detections`."""
