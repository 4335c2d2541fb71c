"""Settings of a dask-gateway server whose clusters run daskmr: ``dask-gateway-server --config``."""

from dask_gateway_server.options import Float, Integer, Options

c = get_config()  # noqa: F821 - traitlets puts it there

GIB = 2**30


def configured(options):  # noqa: ANN001, ANN201 - as dask-gateway wants it
    """Return what a user's options mean to a cluster."""
    return {
        "worker_cores": options.worker_cores,
        "worker_memory": int(options.worker_memory * GIB),
    }


c.Backend.cluster_options = Options(
    Integer("worker_cores", default=2, min=1, max=16, label="Cores of a worker"),
    Float("worker_memory", default=8, min=2, max=64, label="Memory of a worker, GiB"),
    handler=configured,
)
# A job keeps its cluster awake (daskmr.keep-alive); one that was forgotten ends.
c.ClusterConfig.idle_timeout = 1200
c.ClusterConfig.cluster_max_workers = 50
c.ClusterConfig.scheduler_cores = 1
c.ClusterConfig.scheduler_memory = "2 G"
# More regions than cores: while one waits for answers, another sends.
c.ClusterConfig.worker_threads = 4
c.ClusterConfig.environment = {
    "MALLOC_TRIM_THRESHOLD_": "65536",
    "OMP_NUM_THREADS": "1",
    # Pixels never stay, so there is nothing worth spilling.
    "DASK_DISTRIBUTED__WORKER__MEMORY__TARGET": "False",
    "DASK_DISTRIBUTED__WORKER__MEMORY__SPILL": "False",
}
