"""Runs one region from its pixels to its committed part; this is what is sent to workers.

In the order of use: `task`, `region`, `reader`, `inference`, `cancellation`, `isolation`,
`metrics`. Nothing here imports Dask.
"""
