"""Where a job keeps what it did: a local folder or a bucket that all workers reach."""

from daskmr.store.jobs import JobFolder, jobs
from daskmr.store.parts import Part, PartHeader, PartStore

__all__ = ["JobFolder", "Part", "PartHeader", "PartStore", "jobs"]
