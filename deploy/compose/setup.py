"""Makes what the stand-in of AWS is to hold: buckets with a scene, queues, a stream."""

import tempfile
from pathlib import Path

import boto3
from botocore.config import Config

PATIENT = Config(retries={"mode": "standard", "total_max_attempts": 10})


def main() -> None:
    """Make it, whether some of it is there already or not."""
    s3 = boto3.client("s3", config=PATIENT)
    for bucket in ("imagery", "results", "jobs"):
        s3.create_bucket(Bucket=bucket)
    sqs = boto3.client("sqs", config=PATIENT)
    for queue in ("requests", "refused"):
        sqs.create_queue(QueueName=queue)
    kinesis = boto3.client("kinesis", config=PATIENT)
    if "features" not in kinesis.list_streams()["StreamNames"]:
        kinesis.create_stream(StreamName="features", ShardCount=1)
    with tempfile.TemporaryDirectory() as folder:
        s3.upload_file(str(_scene(Path(folder) / "scene.tif")), "imagery", "scene.tif")


def _scene(path: Path) -> Path:
    from daskmr.testing.scene import SyntheticScene

    SyntheticScene(size=2048).write(path)
    return path


if __name__ == "__main__":
    main()
