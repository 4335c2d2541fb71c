"""Decides everything about a job before it starts.

In the order of use: `options` (or `from_request`), `endpoint_options`, `make_plan` with `regions`
and `payload`, which makes a `plan`; `outputs` and `execution` say where results go and how it runs.
"""
