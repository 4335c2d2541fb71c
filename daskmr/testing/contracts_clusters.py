"""Contract of named clusters: tests to inherit."""

import pickle
from operator import add

import pytest

from daskmr.clusters.base import NamedCluster
from daskmr.errors import ClusterError


class ClusterContract:
    """Tests of one kind: inherit, name the class ``Test...``, define `make` and `make_missing`."""

    def make(self) -> NamedCluster:
        """Return a cluster that runs and has a worker, or gets one."""
        raise NotImplementedError

    def make_missing(self) -> NamedCluster:
        """Return a cluster that does not exist."""
        raise NotImplementedError

    def test_tasks_run_on_it(self) -> None:
        with self.make().client(max_workers=1) as client:
            assert client.submit(add, 40, 2).result(60) == 42

    def test_its_client_ends_with_the_block_and_a_running_cluster_stays(self) -> None:
        clients = []
        for _ in range(2):
            with self.make().client(max_workers=1) as client:
                assert client.status == "running"
                clients.append(client)
        assert [client.status for client in clients] == ["closed", "closed"]

    def test_its_client_is_not_made_the_default_of_the_process(self) -> None:
        from distributed import default_client

        with self.make().client(max_workers=1), pytest.raises(ValueError, match="No clients found"):
            default_client()

    def test_one_that_does_not_exist_is_an_error_that_names_it(self) -> None:
        cluster = self.make_missing()
        with (
            pytest.raises(ClusterError) as caught,
            cluster.client(max_workers=1) as client,
        ):
            client.ncores()
        assert cluster.name in str(caught.value)

    def test_it_is_plain_data(self) -> None:
        cluster = self.make()
        assert pickle.loads(pickle.dumps(cluster)) == cluster  # noqa: S301 - our own bytes
        assert hash(cluster) == hash(self.make())
        assert cluster.name != self.make_missing().name
