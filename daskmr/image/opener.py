"""Open files with GDAL; all files are opened here.

A **trusted** URL was written by a person on their own machine. An **untrusted** one came from a
queue or the network: it is checked against allow-lists and opened with few of GDAL's drivers.
"""

import math
import re
import stat
import subprocess
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit

from daskmr import aws
from daskmr.aws import OURSELVES, Identity
from daskmr.core.imagery import SAR_AS_BANDS
from daskmr.errors import EndpointError, ImageError, ImageUnreachableError
from daskmr.image._gdal import faults, pixel_type
from daskmr.image._outage import is_readable
from daskmr.image._refusal import redact_url, refusal
from daskmr.image._several import names_of

CACHE_MB = 128
"""GDAL's block cache, for each process."""
MAX_BANDS = 512
"""Most bands of an image."""
MAX_BLOCK_BYTES = 256 * 2**20
"""Most bytes of one storage block, which GDAL reads as a whole."""
SIGNED_S = 3600
"""Seconds for which the signed URL of an object read with a role is valid."""
ALLOWED = frozenset({"GTiff", "COG", "NITF", "JP2OpenJPEG", "JPEG", "PNG", "MEM", "Memory"})
"""Drivers of a hardened process; GDAL before 3.11 needs Memory to trace masks."""

_OPTIONS: Mapping[str, object] = {
    "GDAL_CACHEMAX": CACHE_MB,
    "GDAL_NUM_THREADS": 2,
    "GDAL_HTTP_CONNECTTIMEOUT": 5,
    "GDAL_HTTP_TIMEOUT": 60,
    "GDAL_HTTP_LOW_SPEED_TIME": 15,
    "GDAL_HTTP_LOW_SPEED_LIMIT": 1024,
    "GDAL_HTTP_MAX_RETRY": 3,
    "GDAL_HTTP_RETRY_DELAY": 0.5,
    "GDAL_INGESTED_BYTES_AT_OPEN": 32768,
    **SAR_AS_BANDS,
}
_REMOTE = "/vsicurl/:/vsis3/"
_KEY = re.compile(r"[^\x00-\x1f\x7f?&#\\]+")
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}")
_PREFIX = re.compile(r"[A-Za-z][A-Za-z0-9_+.-]*:")
_LIST_DRIVERS = "import rasterio\nwith rasterio.Env() as env:\n    print('\\n'.join(env.drivers()))"


class Trust(StrEnum):
    """Level of trust in a URL."""

    TRUSTED = "trusted"
    UNTRUSTED = "untrusted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """Access policy for images: which URLs may be opened, and with which identity."""

    trust: Trust = Trust.TRUSTED
    """Level of trust in the URLs."""
    roots: tuple[str, ...] = ()
    """Folders below which untrusted local paths may lie."""
    hosts: tuple[str, ...] = ()
    """Hosts (``host:port`` for a port other than 443) that untrusted https URLs may name."""
    buckets: tuple[str, ...] = ()
    """Buckets that untrusted s3 URLs may name."""
    identity: Identity = OURSELVES
    """AWS identity that reads s3 URLs."""

    def gdal_path(self, url: str) -> str:
        """Return the GDAL path of a URL; other forms than these are refused.

        ``s3://bucket/key``, ``https://host/path``, ``http://`` when trusted, ``file:///path`` and
        local paths.

        Raises
        ------
        ImageError
            When the URL is refused; names the URL and the reason.
        """
        if not url or url.startswith(("/vsi", "<")) or re.search(r"[\x00-\x1f\x7f]", url):
            raise refusal(url, "not a path or URL that is opened here")
        scheme = _split(url).scheme if "://" in url else ""
        if scheme == "s3":
            return self._s3(url)
        if scheme in {"http", "https"}:
            return self._http(url)
        if scheme == "file":
            return self._local(url, local_path(url))
        if _PREFIX.match(url):
            raise refusal(url, "neither s3://, https://, file:// nor a path")
        return self._local(url, url)

    def open(
        self,
        url: str,
        *,
        for_pixels: bool = False,
        image: int | None = None,
        level: int | None = None,
    ) -> Any:
        """Return an open rasterio dataset of an image that is within the limits.

        Parameters
        ----------
        url
            Path or URL of the file.
        for_pixels
            True to read pixels. Overviews of an untrusted file are then ignored, since they may be
            in another file; GDAL's option for this loses the georeferencing of some formats.
        image
            Number of the image in a file with several, from 0.
        level
            Number of the overview, from 0; None for the full image.

        Raises
        ------
        ImageUnreachableError
            When the place of the image does not answer.
        ImageError
            When the URL is refused, or there is no such image, or it cannot be processed.
        """
        path = self._openable_path(url)
        options = self._overview_options(for_pixels) if level is None else {"OVERVIEW_LEVEL": level}
        with self.env(url):
            try:
                dataset = self._dataset(url, path, image=image, options=options)
            except IndexError as error:  # rasterio's error for a file without a raster
                raise refusal(url, "holds no image") from error
            except faults() as error:
                why = str(error).replace(path, url).replace(path.removeprefix("/vsicurl/"), url)
                raise refusal(url, f"cannot be opened: {why}") from error
            try:
                self._check(url, dataset)
            except ImageError:
                dataset.close()
                raise
            except faults() as error:
                dataset.close()
                is_readable(url, self.identity)
                raise refusal(url, f"has a broken header: {error}") from error
        return dataset

    def _dataset(
        self, url: str, path: str, *, image: int | None, options: Mapping[str, Any]
    ) -> Any:
        """Return an open dataset; after an error, try again if the place of the image answers.

        GDAL remembers for the life of the process what it did not get, unless told not to, and even
        then reports an HTTP status once more. The credentials may be others by now.
        """
        import rasterio

        try:
            dataset = rasterio.open(path, sharing=False, **options)
        except faults():
            if not is_readable(url, self.identity):
                raise
            with self.env(url), rasterio.Env(CPL_VSIL_CURL_NON_CACHED=_REMOTE):
                try:
                    dataset = rasterio.open(path, sharing=False, **options)
                except faults():
                    dataset = rasterio.open(path, sharing=False, **options)
        return dataset if image is None else _open_subdataset(url, dataset, image, options=options)

    def open_lazy(self, url: str, *, chunks: Mapping[str, Any]) -> Any:
        """Return a lazy xarray.DataArray (band, y, x) of an image that `open` accepts.

        Parameters
        ----------
        url
            Path or URL of the file.
        chunks
            Chunk sizes by dimension.
        """
        import rioxarray

        self.open(url).close()
        path = self._openable_path(url)
        with self.env(url):
            return rioxarray.open_rasterio(
                path,
                chunks=dict(chunks),
                lock=False,
                cache=False,
                **self._overview_options(for_pixels=True),
            )

    @contextmanager
    def env(self, url: str) -> Iterator[None]:
        """Yield with GDAL's settings for an image; enter it around each open and read."""
        import rasterio
        from rasterio.session import AWSSession, DummySession

        _silence()
        if self.trust is Trust.UNTRUSTED:
            harden_process()
        remote = url.startswith(("s3://", "http://", "https://"))
        options = dict(_OPTIONS)
        closed = remote or self.trust is Trust.UNTRUSTED
        options["GDAL_DISABLE_READDIR_ON_OPEN"] = "EMPTY_DIR" if closed else "FALSE"
        if self.trust is Trust.UNTRUSTED:
            options["GDAL_PAM_ENABLED"] = "NO"
        session = {"session": DummySession()}  # rasterio would create one for local files, too
        if self.identity.role:
            options["CPL_VSIL_CURL_USE_HEAD"] = "NO"  # the URL is signed for GET only
        elif url.startswith("s3://"):
            session = {"session": AWSSession(aws.credential_source())}
            options |= aws.gdal_options()
        with rasterio.Env(**session, **options):
            yield

    def _openable_path(self, url: str) -> str:
        """Return the path that GDAL opens for a URL: a signed one when it is read with a role.

        GDAL caches ``/vsis3/`` content across identities; signed URLs keep those of roles apart.
        """
        path = self.gdal_path(url)
        if not (self.identity.role and path.startswith("/vsis3/")):
            return path
        bucket, _, key = path.removeprefix("/vsis3/").partition("/")
        location = {"Bucket": bucket, "Key": key}
        try:
            with aws.translate_errors(url):
                s3 = aws.client("s3", self.identity)
                s3.head_object(**location)  # GDAL would not report the reason
                signed = s3.generate_presigned_url(
                    "get_object", Params=location, ExpiresIn=SIGNED_S
                )
        except EndpointError as error:
            if error.may_pass:
                msg = redact_url(url, f"cannot be reached as {self.identity.role}: {error}")
                raise ImageUnreachableError(msg) from error
            is_readable(url, self.identity)
            raise refusal(url, f"cannot be read as {self.identity.role}: {error}") from error
        return f"/vsicurl/{signed}"

    def _s3(self, url: str) -> str:
        bucket, _, key = url.removeprefix("s3://").partition("/")
        if not _BUCKET.fullmatch(bucket) or not _KEY.fullmatch(key) or ".." in key.split("/"):
            raise refusal(url, "not s3://bucket/key")
        if self.trust is Trust.UNTRUSTED and bucket not in self.buckets:
            raise refusal(url, f"bucket {bucket!r} is not on the list of allowed buckets")
        return f"/vsis3/{bucket}/{key}"

    def _http(self, url: str) -> str:
        parts = _split(url)
        if not parts.hostname or "@" in parts.netloc or "\\" in url:
            raise refusal(url, "not a plain https://host/path")
        if self.trust is Trust.UNTRUSTED:
            if parts.scheme != "https" or parts.query or parts.fragment:
                raise refusal(url, "not https, or with a query")
            if parts.netloc.lower() not in self.hosts:
                raise refusal(url, f"host {parts.netloc!r} is not on the list of allowed hosts")
        return f"/vsicurl/{urlunsplit(parts._replace(fragment=''))}"

    def _local(self, url: str, path: str) -> str:
        try:
            real = Path(path).resolve()
            mode = _mode(real)
        except (
            OSError,
            RuntimeError,
            ValueError,
        ) as error:  # too long, a loop of symbolic links, a NUL
            raise refusal(url, "not a path that can be followed") from error
        if self.trust is Trust.UNTRUSTED:
            roots = [Path(root).resolve() for root in self.roots]
            if not any(real.is_relative_to(root) for root in roots):
                raise refusal(url, "not below a folder that is allowed")
        if mode is None:
            raise refusal(url, "no such file")
        if stat.S_ISDIR(mode):
            raise refusal(url, "a folder that is no Zarr store")
        return str(real)

    def _overview_options(self, for_pixels: bool) -> dict[str, Any]:  # noqa: FBT001 - the only argument
        untrusted = self.trust is Trust.UNTRUSTED
        return {"OVERVIEW_LEVEL": "NONE"} if for_pixels and untrusted else {}

    def _check(self, url: str, dataset: Any) -> None:
        if dataset.count < 1:
            raise refusal(url, "holds no image")
        if self.trust is Trust.UNTRUSTED and dataset.driver not in ALLOWED:
            raise refusal(url, f"format {dataset.driver!r} is not allowed")
        if dataset.count > MAX_BANDS:
            raise refusal(url, f"{dataset.count} bands, more than {MAX_BANDS}")
        if len(set(dataset.dtypes)) > 1:
            types = ", ".join(dict.fromkeys(dataset.dtypes))
            raise refusal(url, f"bands of different types ({types})")
        import numpy as np

        height, width = max(dataset.block_shapes, key=math.prod)
        by_pixel = getattr(dataset.interleaving, "name", "") == "pixel"
        bands = dataset.count if by_pixel else 1
        n_bytes = height * width * np.dtype(pixel_type(dataset)).itemsize * bands
        if n_bytes > MAX_BLOCK_BYTES:
            size = f"{width}x{height}"
            raise refusal(
                url, f"blocks of {size} take {n_bytes:,} bytes, more than {MAX_BLOCK_BYTES:,}"
            )


def _mode(path: Path) -> int | None:
    """Return the type and permissions of a file; None when it does not exist.

    `Path.exists` hides other errors than it did before Python 3.12.
    """
    try:
        return path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None


def _open_subdataset(url: str, dataset: Any, image: int, *, options: Mapping[str, Any]) -> Any:
    """Return one image of an open file as a dataset; close that of the file."""
    import rasterio

    with dataset:
        names = names_of(dataset)
        n = max(1, len(names))
        if image >= n:
            raise refusal(url, f"has no image {image}; it holds {n}, counted from 0")
        if not names:
            return rasterio.open(dataset.name, sharing=False, **options)
    return rasterio.open(names[image], sharing=False, **options)


@cache
def harden_process() -> None:
    """Deregister all GDAL drivers of this process but the allowed ones, before GDAL is used.

    Raises
    ------
    ImageError
        When GDAL was already used, so that the other drivers can no longer be removed.
    """
    import rasterio
    from rasterio.session import DummySession

    listed = subprocess.run(  # noqa: S603 - constant arguments
        [sys.executable, "-c", _LIST_DRIVERS], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    skip = ",".join(name for name in listed if name not in ALLOWED)
    with rasterio.Env(session=DummySession(), GDAL_SKIP=skip) as env:
        left = set(env.drivers()) - ALLOWED
    if left:
        msg = (
            f"untrusted images cannot be opened: GDAL was already used in this process, and has "
            f"{len(left)} drivers that are not allowed ({', '.join(sorted(left)[:5])}, ...)"
        )
        raise ImageError(msg)


def local_path(url: str) -> str:
    """Return the local path of a ``file://`` URL.

    Raises
    ------
    ImageError
        When the URL names another host.
    """
    parts = _split(url)
    if parts.netloc not in {"", "localhost"}:
        raise refusal(url, f"a file of another host, {parts.netloc!r}")
    return unquote(parts.path)


def _split(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError as error:
        raise refusal(url, f"not a URL: {error}") from error


def _silence() -> None:
    """Ignore warnings about images without georeferencing, which the plan reports."""
    from rasterio.errors import NotGeoreferencedWarning

    for module in ("daskmr.image", "rasterio", "rioxarray"):
        pattern = rf"{module}(\..*)?"
        known = any(  # before filters that somebody has added since, which would win
            f[2] is NotGeoreferencedWarning and f[3] is not None and f[3].pattern == pattern
            for f in warnings.filters[:3]
        )
        if not known:
            warnings.filterwarnings("ignore", category=NotGeoreferencedWarning, module=pattern)
