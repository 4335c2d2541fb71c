"""The job store: a folder or bucket that all workers reach, in which each name is written once.

`object_store` writes names, `lease` gives a job to one driver, `parts` holds the features of
regions, and `jobs` puts the three together as the folder of one job. `scratch` is for temporary
files of the driver.
"""

from daskmr.store.jobs import JobFolder, jobs
from daskmr.store.parts import Part, PartHeader, PartStore

__all__ = ["JobFolder", "Part", "PartHeader", "PartStore", "jobs"]
