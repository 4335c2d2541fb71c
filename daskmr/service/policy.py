"""The images, endpoints, outputs and roles that requests may name, as the deployment decides.

A request comes from anyone who may write to the queue. It reaches nothing that is not on these
lists.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import unquote, urlsplit

from daskmr.aws import Identity
from daskmr.aws.policies import reading
from daskmr.core.request import ImageRequest, KinesisOutput, S3Output
from daskmr.errors import RequestError
from daskmr.image import Door, Trust
from daskmr.planning.from_request import KINDS


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestPolicy:
    """Patterns (``*`` matches anything) of the names that a request may contain."""

    images: Sequence[str] = ()
    """``s3://bucket``, ``s3://bucket/prefix``, ``https://host``, or a folder of this machine."""
    models: Sequence[str] = ()
    """Hosts of HTTP endpoints, on every port, or ``host:port``; if empty, any public host is
    allowed. Private addresses must be listed."""
    endpoints: Sequence[str] = ("*",)
    """Names of SageMaker endpoints, and addresses ``KIND://…`` of endpoints of other packages."""
    outputs: Sequence[str] = ()
    """``s3://bucket/prefix`` and ``kinesis:stream``; prefixes below a listed one are allowed."""
    roles: Mapping[str, str] = field(default_factory=dict)
    """ARNs that may be assumed, each with its external id; empty for none."""

    def check(self, request: ImageRequest) -> None:
        """Raise if a request names an image, model, output or role that is not allowed.

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
            f"{name}: {role!r} is none of the roles that may be assumed here; "
            f"--allow-role {role} would allow it"
            for name, role in roles.items()
            if role and self._external_id(role) is None
        ]
        if problems:
            raise RequestError(*problems)

    def image_access(self, url: str, *, role: str = "", session: str = "daskmr") -> Door:
        """Return the access rights with which one image of a request is opened.

        Parameters
        ----------
        url
            URL or path of the image.
        role
            ARN of the role to assume; empty for the service's own.
        session
            Session name of the assumed role.
        """
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
        """Return the AWS identity that assumes *role*, with its external id."""
        return Identity(role=role, external_id=self._external_id(role) or "", session=session)

    def lists_model(self, url: str) -> bool:
        """Return True if the host of an HTTP endpoint is listed, so that it may be private."""
        parts = urlsplit(url)
        names = (parts.netloc.lower(), (parts.hostname or "").lower())
        return any(fnmatchcase(name, pattern.lower()) for name in names for pattern in self.models)

    def _images(self, request: ImageRequest) -> list[str]:
        return [
            f"imageUrls.{number}: {url!r} is none of the images that may be read here; "
            f"--allow-image {_origin(url)} would allow it"
            for number, url in enumerate(request.image_urls)
            if "://" in url and not self._lists_image(url)
        ]

    def _lists_image(self, url: str) -> bool:
        parts = urlsplit(url)
        if parts.scheme == "file":
            return True  # folders are checked when the image is opened
        if ".." in unquote(parts.path).split("/"):
            return False
        name = f"{_origin(url)}{parts.path}"
        return any(_covers(_lower_origin(pattern), name) for pattern in self.images)

    def _models(self, request: ImageRequest) -> list[str]:
        processor = request.image_processor
        name = processor.name
        if processor.type not in KINDS:
            name = f"{processor.type.lower()}://{name}"
            patterns = [pattern for pattern in self.endpoints if "://" in pattern]
            is_allowed = any(fnmatchcase(name, pattern) for pattern in patterns)
        elif "://" in name:
            is_allowed = not self.models or self.lists_model(name)
        else:
            is_allowed = any(fnmatchcase(name, pattern) for pattern in self.endpoints)
        if is_allowed:
            return []
        is_web = processor.type in KINDS and "://" in name
        way = f"--allow-model {urlsplit(name).netloc}" if is_web else f"--allow-endpoint {name}"
        return [f"imageProcessor.name: {name!r} may not be called from here; {way} would allow it"]

    def _outputs(self, request: ImageRequest) -> list[str]:
        names = [_output_name(output) for output in request.outputs]
        return [
            f"outputs.{number}: {name!r} is none of the outputs that may be written here; "
            f"--allow-output {name} would allow it"
            for number, name in enumerate(names)
            if not any(_covers(pattern, name) for pattern in self.outputs)
        ]

    def _external_id(self, role: str) -> str | None:
        """Return the external id of a role; None if it may not be assumed."""
        matches = (extra for pattern, extra in self.roles.items() if fnmatchcase(role, pattern))
        return next(matches, None)


def allow_all() -> RequestPolicy:
    """Return the policy of a laboratory: requests may name everything that this machine reaches."""
    return RequestPolicy(
        images=("s3://*", "https://*", "/"),
        models=("*",),
        endpoints=("*",),
        outputs=("s3://*", "kinesis:*"),
        roles={"*": ""},
    )


def _origin(url: str) -> str:
    """Return the scheme and host, or bucket, of a URL; in lower case, as hosts are."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}".lower()


def _lower_origin(pattern: str) -> str:
    return f"{_origin(pattern)}{urlsplit(pattern).path}" if "://" in pattern else pattern


def _output_name(output: Any) -> str:
    if isinstance(output, S3Output):
        return f"s3://{output.bucket}/{output.prefix.strip('/')}".rstrip("/")
    stream: KinesisOutput = output
    return f"kinesis:{stream.stream}"


def _covers(pattern: str, name: str) -> bool:
    """Return True if an output matches a pattern or lies below it."""
    plain = pattern.rstrip("/")
    return fnmatchcase(name, plain) or fnmatchcase(name, f"{plain}/*")
