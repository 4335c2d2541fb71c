"""Sends the regions of a job to the workers of a Dask cluster until each has ended.

In the order of use: `cluster`, `model_call`, `preflight`, `graph`, `executor`, `dispatcher` with
its `retry_policy` and `supervisor`, `progress`.
"""
