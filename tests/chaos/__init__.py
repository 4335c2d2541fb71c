"""Whole jobs with real processes that are killed at random, and a checker that trusts nobody.

The model server keeps a log of its own. After the job, what was published is compared with that log
alone: what daskmr says of itself is only one of the things that are checked.

Run from the root of the repository::

    python -m tests.chaos --jobs 40 --kills 300 --store local
    python -m tests.chaos publication --kills 200
    python -m tests.chaos races --races 100
"""
