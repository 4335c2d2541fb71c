"""The one door through which files reach GDAL.

Two levels of trust share it. A **trusted** URL was written by a person on their own machine: any
local file that their GDAL opens. An **untrusted** one came from a queue or over the network: it is
checked against a grammar and allow-lists of our own, and opened in a process whose GDAL has nothing
but a few drivers left.
"""

import math
import re
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
from daskmr.errors import EndpointError, ImageError
from daskmr.image._several import names_of

CACHE_MB = 128
"""GDAL's block cache, for each process."""
MAX_BANDS = 512
"""Most bands of an image."""
MAX_BLOCK_BYTES = 256 * 2**20
"""Most bytes of one storage block, which GDAL holds whole whatever is read of it."""
SIGNED_S = 3600
"""Seconds for which the address of an object that is read with a role is signed, at most."""
ALLOWED = frozenset({"GTiff", "COG", "NITF", "JP2OpenJPEG", "JPEG", "PNG", "MEM"})
"""Drivers that are left in a hardened process."""

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
}
_KEY = re.compile(r"[^\x00-\x1f\x7f?&#\\]+")
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}")
_PREFIX = re.compile(r"[A-Za-z][A-Za-z0-9_+.-]*:")
_LIST_DRIVERS = "import rasterio\nwith rasterio.Env() as env:\n    print('\\n'.join(env.drivers()))"


class Trust(StrEnum):
    """How far a URL is believed."""

    TRUSTED = "trusted"
    UNTRUSTED = "untrusted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """What may be opened, and how."""

    trust: Trust = Trust.TRUSTED
    """Where the URLs come from."""
    roots: tuple[str, ...] = ()
    """Folders below which untrusted local paths may lie."""
    hosts: tuple[str, ...] = ()
    """Hosts, ``host:port`` for a port of their own, that untrusted https URLs may name."""
    buckets: tuple[str, ...] = ()
    """Buckets that untrusted s3 URLs may name."""
    identity: Identity = OURSELVES
    """Who reads s3 URLs."""

    def gdal_path(self, url: str) -> str:
        """What GDAL is given for a URL; nothing but the forms below is.

        ``s3://bucket/key``, ``https://host/path``, ``http://`` when trusted, ``file:///path`` and
        local paths.

        Raises
        ------
        ImageError
            Names the URL and what is wrong with it.
        """
        if not url or url.startswith(("/vsi", "<")) or re.search(r"[\x00-\x1f\x7f]", url):
            raise refused(url, "not a path or URL that is opened here")
        scheme = _split(url).scheme if "://" in url else ""
        if scheme == "s3":
            return self._s3(url)
        if scheme in {"http", "https"}:
            return self._http(url)
        if scheme == "file":
            return self._local(url, local_path(url))
        if _PREFIX.match(url):
            raise refused(url, "neither s3://, https://, file:// nor a path")
        return self._local(url, url)

    def open(
        self,
        url: str,
        *,
        for_pixels: bool = False,
        image: int | None = None,
        level: int | None = None,
    ) -> Any:
        """An open rasterio dataset of an image that is within our limits.

        Parameters
        ----------
        url
            What to open.
        for_pixels
            Whether pixels are read of it. An untrusted file is then kept from naming another one
            as its overview; GDAL's way of doing so loses the georeferencing of some formats.
        image
            Which image of a file that holds several, from 0.
        level
            Which overview, from 0; None for the full image.

        Raises
        ------
        ImageError
            When the URL is refused, or there is no such image, or it is none that can be run.
        """
        import rasterio

        path = self._opened(url)
        how = self._hidden(for_pixels) if level is None else {"OVERVIEW_LEVEL": level}
        with self.env(url):
            try:
                dataset = rasterio.open(path, sharing=False, **how)
                if image is not None:
                    dataset = _one(url, dataset, image, how=how)
            except IndexError as error:  # what rasterio makes of a file without a raster
                raise refused(url, "holds no image") from error
            except faults() as error:
                why = str(error).replace(path, url).replace(path.removeprefix("/vsicurl/"), url)
                raise refused(url, f"cannot be opened: {why}") from error
            try:
                self._check(url, dataset)
            except ImageError:
                dataset.close()
                raise
            except faults() as error:
                dataset.close()
                raise refused(url, f"has a broken header: {error}") from error
        return dataset

    def open_lazy(self, url: str, *, chunks: Mapping[str, Any]) -> Any:
        """A lazy xarray.DataArray (band, y, x) of an image that `open` accepts.

        Parameters
        ----------
        url
            As for `open`.
        chunks
            Sizes of chunks by dimension.
        """
        import rioxarray

        self.open(url).close()
        path = self._opened(url)
        with self.env(url):
            return rioxarray.open_rasterio(
                path, chunks=dict(chunks), lock=False, cache=False, **self._hidden(for_pixels=True)
            )

    @contextmanager
    def env(self, url: str) -> Iterator[None]:
        """GDAL's settings for an image; entered around every open and read, in every thread."""
        import rasterio
        from rasterio.session import DummySession

        _silence()
        if self.trust is Trust.UNTRUSTED:
            harden_process()
        remote = url.startswith(("s3://", "http://", "https://"))
        options = dict(_OPTIONS)
        closed = remote or self.trust is Trust.UNTRUSTED
        options["GDAL_DISABLE_READDIR_ON_OPEN"] = "EMPTY_DIR" if closed else "FALSE"
        if self.trust is Trust.UNTRUSTED:
            options["GDAL_PAM_ENABLED"] = "NO"
        # Without a session given, rasterio would build one of boto3 for every local file as well.
        is_ours = url.startswith("s3://") and not self.identity.role
        session = {} if is_ours else {"session": DummySession()}
        if self.identity.role:
            options["CPL_VSIL_CURL_USE_HEAD"] = "NO"  # what is signed is to be got
        with rasterio.Env(**session, **options):
            yield

    def _opened(self, url: str) -> str:
        """What GDAL opens for a URL.

        GDAL keeps what it read of ``/vsis3/`` whoever it was then, so that one role would be shown
        what another may see. What is read with a role therefore has a signed address, which nobody
        else can have, as its name.
        """
        path = self.gdal_path(url)
        if not (self.identity.role and path.startswith("/vsis3/")):
            return path
        bucket, _, key = path.removeprefix("/vsis3/").partition("/")
        where = {"Bucket": bucket, "Key": key}
        try:
            with aws.translated(url):
                s3 = aws.client("s3", self.identity)
                s3.head_object(**where)  # GDAL would not say why it cannot
                signed = s3.generate_presigned_url("get_object", Params=where, ExpiresIn=SIGNED_S)
        except EndpointError as error:
            raise refused(url, f"cannot be read as {self.identity.role}: {error}") from error
        return f"/vsicurl/{signed}"

    def _s3(self, url: str) -> str:
        bucket, _, key = url.removeprefix("s3://").partition("/")
        if not _BUCKET.fullmatch(bucket) or not _KEY.fullmatch(key) or ".." in key.split("/"):
            raise refused(url, "not s3://bucket/key")
        if self.trust is Trust.UNTRUSTED and bucket not in self.buckets:
            raise refused(url, f"bucket {bucket!r} is not on the list of allowed buckets")
        return f"/vsis3/{bucket}/{key}"

    def _http(self, url: str) -> str:
        parts = _split(url)
        if not parts.hostname or "@" in parts.netloc or "\\" in url:
            raise refused(url, "not a plain https://host/path")
        if self.trust is Trust.UNTRUSTED:
            if parts.scheme != "https" or parts.query or parts.fragment:
                raise refused(url, "not https, or with a query")
            if parts.netloc.lower() not in self.hosts:
                raise refused(url, f"host {parts.netloc!r} is not on the list of allowed hosts")
        return f"/vsicurl/{urlunsplit(parts._replace(fragment=''))}"

    def _local(self, url: str, path: str) -> str:
        try:
            real = Path(path).resolve()
            is_folder, is_there = real.is_dir(), real.exists()
        except (OSError, RuntimeError, ValueError) as error:  # too long, a loop of links, a NUL
            raise refused(url, "not a path that can be followed") from error
        if self.trust is Trust.UNTRUSTED:
            roots = [Path(root).resolve() for root in self.roots]
            if not any(real.is_relative_to(root) for root in roots):
                raise refused(url, "not below a folder that is allowed")
        if is_folder:
            raise refused(url, "a folder that is no Zarr store")
        if not is_there:
            raise refused(url, "no such file")
        return str(real)

    def _hidden(self, for_pixels: bool) -> dict[str, Any]:  # noqa: FBT001 - one of two
        untrusted = self.trust is Trust.UNTRUSTED
        return {"OVERVIEW_LEVEL": "NONE"} if for_pixels and untrusted else {}

    def _check(self, url: str, dataset: Any) -> None:
        if dataset.count < 1:
            raise refused(url, "holds no image")
        if self.trust is Trust.UNTRUSTED and dataset.driver not in ALLOWED:
            raise refused(url, f"format {dataset.driver!r} is not allowed")
        if dataset.count > MAX_BANDS:
            raise refused(url, f"{dataset.count} bands, more than {MAX_BANDS}")
        if len(set(dataset.dtypes)) > 1:
            types = ", ".join(dict.fromkeys(dataset.dtypes))
            raise refused(url, f"bands of different types ({types})")
        import numpy as np

        height, width = max(dataset.block_shapes, key=math.prod)
        by_pixel = getattr(dataset.interleaving, "name", "") == "pixel"
        bands = dataset.count if by_pixel else 1
        n_bytes = height * width * np.dtype(pixel_type(dataset)).itemsize * bands
        if n_bytes > MAX_BLOCK_BYTES:
            size = f"{width}x{height}"
            raise refused(
                url, f"blocks of {size} take {n_bytes:,} bytes, more than {MAX_BLOCK_BYTES:,}"
            )


def _one(url: str, dataset: Any, image: int, *, how: Mapping[str, Any]) -> Any:
    """One image of an open file; the file is closed."""
    import rasterio

    with dataset:
        names = names_of(dataset)
        n = max(1, len(names))
        if image >= n:
            raise refused(url, f"has no image {image}; it holds {n}, counted from 0")
        if not names:
            return rasterio.open(dataset.name, sharing=False, **how)
    return rasterio.open(names[image], sharing=False, **how)


@cache
def harden_process() -> None:
    """Leave this process's GDAL with the allowed drivers only; once, before GDAL is used.

    Raises
    ------
    ImageError
        When GDAL was already used, so that the others can no longer be kept out.
    """
    import rasterio
    from rasterio.session import DummySession

    listed = subprocess.run(  # noqa: S603 - our own interpreter and text
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


def pixel_type(dataset: Any) -> str:
    """What numpy calls the type that an open dataset's pixels are read as."""
    name: str = dataset.dtypes[0]
    return "complex64" if name == "complex_int16" else name


def faults(*others: type[Exception]) -> tuple[type[Exception], ...]:
    """What rasterio raises for files that are broken, and *others*; they share no base class."""
    from rasterio._err import CPLE_BaseError
    from rasterio.errors import RasterioError

    return (RasterioError, CPLE_BaseError, ValueError, *others)


def local_path(url: str) -> str:
    """Path that a ``file://`` URL means.

    Raises
    ------
    ImageError
        When it names another host.
    """
    parts = _split(url)
    if parts.netloc not in {"", "localhost"}:
        raise refused(url, f"a file of another host, {parts.netloc!r}")
    return unquote(parts.path)


def refused(url: str, why: str) -> ImageError:
    """The error of a URL that is not opened."""
    return ImageError(told(url, why))


def told(url: str, why: str) -> str:
    """What is said of a URL, without the secrets and control characters that it may hold."""
    plain = url
    if "://" in url:  # neither a password nor a signed query belongs into a log
        scheme, _, rest = url.partition("://")
        host, slash, path = rest.partition("?")[0].partition("/")
        plain = f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"
    said = f"{plain[:200]}: {why.replace(url, plain)}"
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in said)


def _split(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError as error:
        raise refused(url, f"not a URL: {error}") from error


def _silence() -> None:
    """No warning that an image has no georeferencing: what that means is said in the plan."""
    from rasterio.errors import NotGeoreferencedWarning

    for module in ("daskmr.image", "rasterio", "rioxarray"):
        pattern = rf"{module}(\..*)?"
        known = any(
            f[2] is NotGeoreferencedWarning and f[3] is not None and f[3].pattern == pattern
            for f in warnings.filters
        )
        if not known:
            warnings.filterwarnings("ignore", category=NotGeoreferencedWarning, module=pattern)
