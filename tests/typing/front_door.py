"""What a user's type checker accepts, and refuses (lines marked so); never run."""

import daskmr


def script() -> tuple[int, str]:
    """Do what users do."""
    text = ""
    request = daskmr.ImageRequest.from_json({})
    plan = daskmr.plan("scene.tif", "blobs", tile_size=512, overlap=(64, 32), merge="nms", iou=0.4)
    daskmr.plan(request)
    daskmr.run(plan, out="results", store="jobs", client=None)
    result = daskmr.run("scene.tif", "blobs", tile_size="512x256", concurrency="auto")
    n_features: int = len(result.features)
    job = daskmr.submit("scene.tif", "blobs", store="jobs", job_id="harbour", tile_size=512)
    try:
        job.wait()
    except (daskmr.JobError, daskmr.ClusterError) as error:
        text = str(error)

    daskmr.run("scene.tif", "blobs", tile_sise=512)  # refused
    daskmr.run("scene.tif", "blobs", overlap=[64])  # refused
    daskmr.run("scene.tif", "blobs", merge=3)  # refused
    daskmr.plan("scene.tif", "blobs", strategy="covers")  # refused
    daskmr.plan("scene.tif", "blobs", concurrency="automatic")  # refused
    daskmr.plan("scene.tif", "blobs", classes=5)  # refused
    daskmr.submit("scene.tif", "blobs", store="jobs", tile_sise=512)  # refused
    daskmr.submit("scene.tif", "blobs")  # refused
    return n_features, text
