"""Opens a job or goes on with one, and keeps what others read of it.

In the order of use: `workspace` (folder and lease), `job_spec`, `event_log`, `notifier`,
`job_state`.
"""
