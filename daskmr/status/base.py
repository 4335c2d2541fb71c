"""What a status channel is: a way to tell the outside how a job stands."""

from typing import Protocol

from daskmr.core.events import StatusEvent


class StatusChannel(Protocol):
    """Says events somewhere; plain data that opens its clients on first use."""

    @property
    def key(self) -> str:
        """Short name of where events are said, fit for a file name; never changes with time."""

    def publish(self, event: StatusEvent) -> None:
        """Say one event; doing it twice is allowed, both have the same id.

        Raises
        ------
        PermanentError
            When this event will never be taken; others will.
        DaskmrError
            Any other: when nothing is taken at present.
        """


class Shelf(Protocol):
    """Where the events of one job are kept, such as `daskmr.store.places.Place`."""

    @property
    def url(self) -> str:
        """Where it is."""

    def create(self, name: str, content: bytes) -> bool:
        """Write a name that is not there; False when other content is there already."""

    def read(self, name: str) -> bytes | None:
        """The content of a name; None when it is not there."""

    def names(self, prefix: str) -> list[str]:
        """All names that begin so, sorted."""
