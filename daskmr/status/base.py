"""The interfaces of status channels and of the folders that store events."""

from typing import Protocol

from daskmr.core.events import StatusEvent


class StatusChannel(Protocol):
    """Publishes events to one destination; plain data that opens its clients on first use."""

    @property
    def key(self) -> str:
        """Short constant name of the destination, valid as a file name."""

    def publish(self, event: StatusEvent) -> None:
        """Publish one event; it may be published twice, with the same id.

        Raises
        ------
        PermanentError
            If the destination refuses this event for ever.
        DaskmrError
            Any other: if the destination is unavailable; the event is published again later.
        """


class EventStore(Protocol):
    """Folder that stores the events of one job, such as `daskmr.store.object_store.ObjectStore`."""

    @property
    def url(self) -> str:
        """Absolute path or ``s3://`` URL."""

    def create(self, name: str, content: bytes) -> bool:
        """Create a name; return False if it exists with other content."""

    def read(self, name: str) -> bytes | None:
        """Return the content of a name; None if it does not exist."""

    def names(self, prefix: str) -> list[str]:
        """Return all names that start with *prefix*, sorted."""
