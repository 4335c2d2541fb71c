"""Where a running job keeps its parts: a local folder or any fsspec URL that all workers reach."""

from daskmr.store.parts import Part, PartStore

__all__ = ["Part", "PartStore"]
