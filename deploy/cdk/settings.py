"""What a deployment may be told by ``-c NAME=VALUE``, or in cdk.json."""

import json
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, Self


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a deployment may be told."""

    image: str
    """The image, in a registry that ECS reaches."""
    allow_images: list[str]
    """``BUCKET`` or ``BUCKET/PREFIX`` that requests may read, besides by roles."""
    allow_outputs: list[str]
    """``BUCKET`` or ``BUCKET/PREFIX`` that they may write, besides the bucket of the stack."""
    allow_endpoints: list[str]
    """SageMaker endpoints that they may call; ``*`` stands for anything."""
    allow_roles: list[str]
    """``ARN`` or ``ARN=EXTERNAL_ID`` of roles that they may name."""
    nat: int
    """NAT gateways; without any, tasks have public addresses, at which nothing listens."""
    cpu: int
    """Of a task, 1024 for one."""
    memory: int
    """Of a task, MiB."""
    most: int
    """Most tasks."""
    scheduler: str
    """Where jobs run, as of ``-s``; empty for the workers of the task itself."""
    retention_days: int
    """Of logs and of jobs in the bucket."""

    @classmethod
    def of(cls, said: Callable[[str], Any]) -> Self:
        """From the context of the app; on the command line lists are JSON.

        Raises
        ------
        ValueError
            Names what is missing or of another kind.
        """
        return cls(**{each.name: _value(said, each.name, each.type) for each in fields(cls)})


def _value(said: Callable[[str], Any], name: str, kind: Any) -> Any:
    told = said(name.replace("_", "-"))
    try:
        if kind is int:
            return int(told)
        value = json.loads(told) if kind is not str and isinstance(told, str) else told
    except (TypeError, ValueError):
        value = None
    if isinstance(value, str if kind is str else list):
        return value
    wanted = {int: "a number", str: "text"}.get(kind, "a list in JSON")
    msg = f"{name.replace('_', '-')}: {told!r} is not {wanted}"
    raise ValueError(msg)
