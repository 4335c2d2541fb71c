"""Makes the result of a job from its committed parts.

In the order of use: `summary` with `coverage` and `tile_table`, `merge_parts` (or
`merge_on_cluster`), `georeference` with `property_columns`, `publish`, and `result` with
`feature_table`; `job_end` when there is none.
"""
