"""The SQS service: runs the requests of a queue concurrently, each exactly once to its end.

Read in the order of a message: `app` (options, start), `sqs`, `listener`, `policy`,
`request_store`, `request_runner`, `image_job`, `job_queue` and `scheduler`, `cluster_connection`;
`health` reports on it, `submission` sends requests, `dead_letters` sends rejected ones again.
"""
