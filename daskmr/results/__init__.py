"""Makes the result of a job from its committed parts.

In the order of use: `summary` and `coverage`, `merge_parts` (or `merge_on_cluster`),
`georeference`, `publish`, `result`; `job_end` when there is none.
"""
