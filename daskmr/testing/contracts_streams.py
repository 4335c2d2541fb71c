"""Contract of streams: tests to inherit."""

import pickle
from collections.abc import Sequence

import pytest

from daskmr.errors import SinkError
from daskmr.sinks.base import Stream, Whole
from daskmr.testing.contracts_sinks import PROVENANCE, Batches, results


class StreamContract:
    """Tests of any stream: inherit, name the class ``Test...``, define the methods that raise."""

    def make(self) -> Stream:
        """Return a stream that accepts everything."""
        raise NotImplementedError

    def make_refused(self) -> Stream:
        """Return a stream whose service is away, or refuses everything for good."""
        raise NotImplementedError

    def received(self) -> Sequence[str]:
        """Return the ids of the features that arrived since the last call, in any order."""
        raise NotImplementedError

    def test_every_feature_arrives_once(self) -> None:
        table = results()
        sent = self.make().send(Whole(table), PROVENANCE)
        assert (sent.n_sent, sent.n_failed) == (len(table), 0)
        assert sorted(self.received()) == sorted(table["feature_id"])

    def test_batches_make_the_same_features_as_the_whole_table(self) -> None:
        table = results()
        sent = self.make().send(Batches(table, (1, 1, 4)), PROVENANCE)
        assert sent.n_sent == len(table)
        assert sorted(self.received()) == sorted(table["feature_id"])

    def test_without_features_nothing_is_sent(self) -> None:
        sent = self.make().send(Whole(results().iloc[:0]), PROVENANCE)
        assert sent.n_sent == 0
        assert list(self.received()) == []

    def test_features_that_cannot_be_sent_are_an_error(self) -> None:
        stream = self.make_refused()
        with pytest.raises(SinkError, match=r"."):
            stream.send(Whole(results()), PROVENANCE)

    def test_it_has_a_name_and_is_plain_data(self) -> None:
        stream = self.make()
        assert stream.name
        assert pickle.loads(pickle.dumps(stream)) == stream  # noqa: S301 - our own
