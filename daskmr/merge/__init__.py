"""Merging: one object that several tiles saw, one feature."""

from collections.abc import Mapping

from daskmr.merge._ranking import best
from daskmr.merge.base import Merge
from daskmr.registry import Registry

__all__ = ["MERGES", "best", "merger", "usual_iou"]

MERGES: Registry[Merge] = Registry(
    kind="merge",
    builtin={
        "edge_aware": "daskmr.merge.edge_aware:EdgeAware",
        "nmm": "daskmr.merge.nmm:Nmm",
        "nms": "daskmr.merge.nms:Nms",
        "none": "daskmr.merge.none:KeepAll",
        "soft_nms": "daskmr.merge.soft_nms:SoftNms",
        "wbf": "daskmr.merge.wbf:Wbf",
    },
)


def usual_iou(name: str) -> float:
    """The overlap that makes a duplicate when nothing is said; of a name, in any case."""
    low = name.lower()
    known = low in MERGES.names()
    return float(getattr(MERGES.load(low) if known else None, "iou_threshold", 0.75))


def merger(name: str, options: Mapping[str, object]) -> Merge:
    """The merge of a name, in any case of letters.

    Parameters
    ----------
    name
        One of the table.
    options
        Fields of its class; ``none`` takes none and ignores them.

    Raises
    ------
    UnknownNameError
        When the table has no such name.
    RequestError
        When an option is wrong.
    """
    low = name.lower()
    return MERGES.build(low, {} if low == "none" else options)
