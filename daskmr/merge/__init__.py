"""Merging: one feature for each object that several tiles detected.

`base` has the protocol, `_rules` the common options; `_ranking`, `_neighbours`, `_shapes` and
`_greedy` decide which features compete and which survive, `_decay`, `_pieces` and `_joining` what
happens to the others; one module for each algorithm.
"""

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
    """Return the default overlap threshold of a merge algorithm, by its name in any case."""
    low = name.lower()
    known = low in MERGES.names()
    return float(getattr(MERGES.load(low) if known else None, "iou_threshold", 0.75))


def merger(name: str, options: Mapping[str, object]) -> Merge:
    """Return the merge algorithm of a name, in any case of letters.

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
    low, fields = name.lower(), dict(options)
    if low in MERGES.names() and not hasattr(MERGES.load(low), "iou_threshold"):
        usual = usual_iou(low)
        if fields.get("iou_threshold", usual) == usual:  # the default, for a class without overlap
            fields.pop("iou_threshold", None)
    return MERGES.build(low, {} if low == "none" else fields)
