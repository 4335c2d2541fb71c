"""Concurrent calls that endpoints can take and that jobs make: Model Runner's arithmetic.

Rules and defaults are Model Runner's, so that an endpoint tuned for it is used as before.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from daskmr.errors import RequestError

PER_INSTANCE = 2
"""Concurrent calls of one instance, when its endpoint carries no tag."""
CONCURRENCY_TAG = "osml:instance-concurrency"
"""Tag of an endpoint: concurrent calls of one of its instances."""
UNKNOWN_REGIONS = 20
"""Assumed number of regions of a job that is not planned yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One production variant of an endpoint."""

    name: str
    """Its name."""
    weight: float = 1.0
    """Part of the traffic that it should get, relative to the others."""
    instances: int = 0
    """Instances in service."""
    max_concurrency: int | None = None
    """Concurrent calls of a serverless variant; None for one with instances."""

    def capacity(self, per_instance: int) -> int:
        """Return the concurrent calls that the variant can take."""
        if self.max_concurrency is not None:
            return self.max_concurrency
        return self.instances * per_instance


def per_instance(tags: Mapping[str, str], default: int = PER_INSTANCE) -> int:
    """Return the concurrent calls of one instance, by the tags of its endpoint.

    Examples
    --------
    >>> per_instance({"osml:instance-concurrency": "5"}), per_instance({CONCURRENCY_TAG: "many"})
    (5, 2)
    """
    value = tags.get(CONCURRENCY_TAG, "").strip()
    return int(value) if value.isdecimal() and int(value) > 0 else default


def capacity(variants: Sequence[Variant], each: int, only: str = "") -> int:
    """Return the concurrent calls that an endpoint can take.

    Parameters
    ----------
    variants
        All its variants.
    each
        Concurrent calls of one instance.
    only
        The variant that is called; all of them when empty. An unknown one takes none.
    """
    return sum(v.capacity(each) for v in variants if only in {"", v.name})


def target(most: int, share: float) -> int:
    """Return the part of a capacity to use (``CAPACITY_TARGET_PERCENTAGE``), at least one call.

    A share of 0 or less means all.

    Examples
    --------
    >>> target(100, 0.8), target(200, 1.2), target(50, 0)
    (80, 240, 50)
    """
    return max(1, int(most * (share if share > 0 else 1.0)))


def image_load(n_regions: int | None, workers: int) -> int:
    """Return the expected concurrent calls of an image, all its regions at once."""
    return (UNKNOWN_REGIONS if n_regions is None else n_regions) * workers


def available(most: int, share: float, running: Sequence[int]) -> int:
    """Return the concurrent calls left for further images, beside the loads of running ones."""
    return target(most, share) - sum(running)


def choose_variant(variants: Sequence[Variant], key: str) -> str:
    """Choose the variant for one image: by weight, the same one for the same key.

    Parameters
    ----------
    variants
        At least one.
    key
        Names the job and the image.

    Raises
    ------
    RequestError
        When no variant has any weight.
    """
    if len(variants) == 1:
        return variants[0].name
    weights = [variant.weight for variant in variants]
    if not sum(weights) > 0:
        names = ", ".join(variant.name for variant in variants)
        msg = f"model: no variant has any weight ({names}); name one as TargetVariant"
        raise RequestError(msg)
    digest = hashlib.blake2b(key.encode("utf-8", "replace"), digest_size=8).digest()
    drawn = int.from_bytes(digest) / 2**64 * sum(weights)
    weighted = [variant for variant in variants if variant.weight > 0]
    for variant in weighted:
        drawn -= variant.weight
        if drawn < 0:
            return variant.name
    return weighted[-1].name  # rounding has left nothing for it
