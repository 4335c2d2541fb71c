"""Values and arithmetic of the domain: no files, no network, no Dask, no clock.

In the order of use: `request` (with `roi` and `preparation`) is parsed, `imagery` describes the
image, `grid` and `selection` its tiles, `capacity` limits calls, `wire` holds their bytes,
`features`, `boxes` and `truncation` the answers, and `timings` (with `histogram`), `report`,
`progress` and `events` the state of the job.
"""
