"""What requests may name: images, endpoints, outputs and roles, by decision of the deployment.

A request comes from whoever may write to the queue. It reaches nothing that is not on these lists.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import urlsplit

from daskmr.aws import Identity
from daskmr.aws.policies import reading
from daskmr.core.request import ImageRequest, KinesisOutput, S3Output
from daskmr.errors import RequestError
from daskmr.image import Door, Trust


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """Patterns (``*`` stands for anything) of what may be named; nothing else is."""

    images: Sequence[str] = ()
    """``s3://bucket``, ``https://host``, or a folder of this machine."""
    models: Sequence[str] = ()
    """Hosts of HTTP endpoints, ``host:port`` for a port of their own; any public one is allowed
    where this is empty, private addresses only by name."""
    endpoints: Sequence[str] = ("*",)
    """Names of SageMaker endpoints."""
    outputs: Sequence[str] = ()
    """``s3://bucket/prefix`` and ``kinesis:stream``; what begins so, or matches."""
    roles: Mapping[str, str] = field(default_factory=dict)
    """ARNs that may be assumed, and the external id that goes with each; empty for none."""

    def check(self, request: ImageRequest) -> None:
        """Refuse a request that names what it may not.

        Raises
        ------
        RequestError
            One sentence for each such field, with its path and value.
        """
        problems = [*self._images(request), *self._models(request), *self._outputs(request)]
        roles = {
            "imageReadRole": request.image_read_role,
            "imageProcessor.assumedRole": request.image_processor.assumed_role,
        }
        for number, output in enumerate(request.outputs):
            roles[f"outputs.{number}.assumedRole"] = output.assumed_role or output.role
        problems += [
            f"{name}: {role!r} is none of the roles that may be assumed here"
            for name, role in roles.items()
            if role and self._role(role) is None
        ]
        if problems:
            raise RequestError(*problems)

    def door(self, url: str, *, role: str = "", session: str = "daskmr") -> Door:
        """The door through which one image of a request is opened."""
        parts = urlsplit(url)
        remote = {"s3", "https"} & {parts.scheme}
        identity = self.identity(role, session=session)
        if role and parts.scheme == "s3":
            policy = reading(role, parts.netloc, parts.path.lstrip("/"))
            identity = Identity(
                role=role,
                external_id=identity.external_id,
                session=identity.session,
                policy=policy,
            )
        return Door(
            trust=Trust.UNTRUSTED,
            roots=() if remote else tuple(r for r in self.images if "://" not in r),
            hosts=(parts.netloc.lower(),) if parts.scheme == "https" else (),
            buckets=(parts.netloc,) if parts.scheme == "s3" else (),
            identity=identity,
        )

    def identity(self, role: str, *, session: str) -> Identity:
        """Who acts with a role that may be assumed."""
        return Identity(role=role, external_id=self._role(role) or "", session=session)

    def names_model(self, url: str) -> bool:
        """Whether the host of an HTTP endpoint is on the list, so that it may be private."""
        host = urlsplit(url).netloc.lower()
        return any(fnmatchcase(host, pattern.lower()) for pattern in self.models)

    def _images(self, request: ImageRequest) -> list[str]:
        return [
            f"imageUrls.{number}: {url!r} is none of the images that may be read here"
            for number, url in enumerate(request.image_urls)
            if "://" in url and not self._reads(url)
        ]

    def _reads(self, url: str) -> bool:
        parts = urlsplit(url)
        if parts.scheme == "file":
            return True  # the door looks at folders
        place = f"{parts.scheme}://{parts.netloc}".lower()
        return any(fnmatchcase(place, pattern.lower().rstrip("/")) for pattern in self.images)

    def _models(self, request: ImageRequest) -> list[str]:
        name = request.image_processor.name
        if "://" in name:
            allowed = not self.models or self.names_model(name)
        else:
            allowed = any(fnmatchcase(name, pattern) for pattern in self.endpoints)
        return [] if allowed else [f"imageProcessor.name: {name!r} may not be called from here"]

    def _outputs(self, request: ImageRequest) -> list[str]:
        return [
            f"outputs.{number}: {_named(output)!r} is none of the outputs that may be written here"
            for number, output in enumerate(request.outputs)
            if not any(_covers(pattern, _named(output)) for pattern in self.outputs)
        ]

    def _role(self, role: str) -> str | None:
        """The external id of a role; None when it may not be assumed."""
        found = (extra for pattern, extra in self.roles.items() if fnmatchcase(role, pattern))
        return next(found, None)


def _named(output: Any) -> str:
    if isinstance(output, S3Output):
        return f"s3://{output.bucket}/{output.prefix.strip('/')}".rstrip("/")
    stream: KinesisOutput = output
    return f"kinesis:{stream.stream}"


def _covers(pattern: str, name: str) -> bool:
    """Whether a place is one of a pattern, or lies below it."""
    plain = pattern.rstrip("/")
    return fnmatchcase(name, plain) or fnmatchcase(name, f"{plain}/*")
