"""Objects of S3 that are read as somebody else.

GDAL keeps what it read of ``/vsis3/`` whoever it was then, so that one role would be shown what
another may see. What is read with a role therefore comes through our own client of that role.
"""

import hashlib
import io
from collections import OrderedDict
from typing import Any

from daskmr import aws
from daskmr.aws import Identity
from daskmr.errors import EndpointError

_BLOCK = 2**20
_BLOCKS = 32
"""Most blocks of an open object that are kept: 32 MiB."""


class ObjectFile(io.RawIOBase):
    """An object of a bucket as a file that is read in whole blocks.

    Parameters
    ----------
    bucket, key
        Which object.
    identity
        Who reads it.

    Raises
    ------
    OSError
        When it is not there, or this identity may not read it.
    """

    def __init__(self, bucket: str, key: str, identity: Identity) -> None:
        self._where = {"Bucket": bucket, "Key": key}
        self._identity = identity
        self._blocks: OrderedDict[int, bytes] = OrderedDict()
        self._at = 0
        head = self._asked("head_object")
        self._size, self._etag = int(head["ContentLength"]), str(head["ETag"])

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to a place in the object."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, start + offset)
        return self._at

    def tell(self) -> int:
        """Where the next byte is read."""
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer from the object; bytes that were read, 0 at its end."""
        wanted = memoryview(buffer).cast("B")
        n = min(len(wanted), max(0, self._size - self._at))
        first, last = self._at // _BLOCK, (self._at + n - 1) // _BLOCK
        done = 0
        for number in range(first, last + 1) if n else ():
            skip = self._at + done - number * _BLOCK
            part = self._block(number)[skip : skip + n - done]
            wanted[done : done + len(part)] = part
            done += len(part)
        self._at += done
        return done

    def _block(self, number: int) -> bytes:
        if number not in self._blocks:
            start = number * _BLOCK
            span = f"bytes={start}-{min(start + _BLOCK, self._size) - 1}"
            answer = self._asked("get_object", Range=span, IfMatch=self._etag)
            self._blocks[number] = answer["Body"].read()
            while len(self._blocks) > _BLOCKS:
                self._blocks.popitem(last=False)
        self._blocks.move_to_end(number)
        return self._blocks[number]

    def _asked(self, action: str, **options: str) -> Any:
        url = f"s3://{self._where['Bucket']}/{self._where['Key']}"
        try:
            with aws.translated(url):
                return getattr(aws.client("s3", self._identity), action)(**self._where, **options)
        except EndpointError as error:
            raise OSError(str(error)) from error


class Opener:
    """Opens one object for rasterio, under a name that no other identity shares."""

    def __init__(self, bucket: str, key: str, identity: Identity) -> None:
        self._object = bucket, key, identity
        who = hashlib.sha256(repr(identity).encode()).hexdigest()[:16]
        self.path = f"{who}/{bucket}/{key}"
        """What rasterio calls the object."""

    def __call__(self, path: str, mode: str = "rb") -> ObjectFile:
        """The object; nothing else is there, and nothing is written."""
        if path != self.path or mode != "rb":
            raise FileNotFoundError(path)
        bucket, key, identity = self._object
        return ObjectFile(bucket, key, identity)
