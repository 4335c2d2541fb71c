"""Amazon Web Services: the one place that knows botocore.

Sessions are kept one for each process, region and role. Credentials of a role are renewed before
they run out; `forget` throws away those that a service refused.
"""

import os
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any

from daskmr.errors import (
    AuthError,
    CapacityError,
    EndpointError,
    PermanentError,
    TransientError,
    UnreachableError,
)

CONNECT_TIMEOUT_S, READ_TIMEOUT_S = 5, 60
_ROLE_S = 3600
"""Seconds of a role; botocore renews it when three quarters of these are over."""
_MAX_NAME = 64
_FRESH_S = 5.0
_CLIENTS = 64
_THROTTLED = frozenset(
    {"Throttling", "ThrottlingException", "TooManyRequestsException", "SlowDown"}
)
_AUTH = frozenset(
    {
        "AccessDenied", "AccessDeniedException", "ExpiredToken", "ExpiredTokenException",
        "IncompleteSignature", "InvalidAccessKeyId", "InvalidClientTokenId",
        "InvalidSignatureException", "MissingAuthenticationToken",
        "MissingAuthenticationTokenException", "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Identity:
    """Who we are, and where."""

    role: str = ""
    """ARN of a role to assume; empty for whoever this process is."""
    region: str | None = None
    """Region; None for the configured one."""
    external_id: str = ""
    """What the role's owner asks for from whoever acts for others; empty for nothing."""
    session: str = "daskmr"
    """What the session is called in the owner's records."""
    policy: str = ""
    """JSON that narrows what the session may do (`daskmr.aws.policies`); empty for nothing."""


OURSELVES = Identity()
"""Whoever this process is, in the configured region."""


@dataclass
class _Session:
    session: Any
    made_at: float = field(default_factory=monotonic)
    clients: dict[str, Any] = field(default_factory=dict)


_LOCK = threading.RLock()
_SESSIONS: dict[tuple[int, Identity], _Session] = {}


def client(service: str, identity: Identity = OURSELVES) -> Any:
    """A client, one for each process, service and identity.

    Raises
    ------
    AuthError
        When no region is configured.
    """
    from botocore.config import Config
    from botocore.exceptions import NoRegionError

    held = _session(identity)
    with _LOCK:
        if service not in held.clients:
            config = Config(
                connect_timeout=CONNECT_TIMEOUT_S,
                read_timeout=READ_TIMEOUT_S,
                max_pool_connections=_CLIENTS,
                retries={"total_max_attempts": 3, "mode": "standard"},
            )
            try:
                held.clients[service] = held.session.create_client(service, config=config)
            except NoRegionError as error:
                msg = f"{service}: no AWS region is configured; set AWS_DEFAULT_REGION"
                raise AuthError(msg, reason="NO_REGION") from error
        return held.clients[service]


def forget(identity: Identity) -> None:
    """Make the next call find its credentials anew, unless they have only just been found."""
    with _LOCK:
        held = _SESSIONS.get((os.getpid(), identity))
        if held is not None and monotonic() - held.made_at > _FRESH_S:
            del _SESSIONS[os.getpid(), identity]


def close() -> None:
    """Close all clients of this process, and forget who it is."""
    with _LOCK:
        for held in _SESSIONS.values():
            for made in held.clients.values():
                made.close()
        _SESSIONS.clear()


def signed(
    service: str, url: str, payload: bytes, *, headers: Mapping[str, str], identity: Identity
) -> dict[str, str]:
    """Headers with the signature of a POST (Signature Version 4).

    Parameters
    ----------
    service
        Name under which requests are signed.
    url, payload, headers
        The request.
    identity
        Who signs.

    Raises
    ------
    AuthError
        When there are no credentials.
    """
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest

    session = _session(identity).session
    with translated(service):
        credentials = session.get_credentials()
        if credentials is None:
            msg = f"{service}: no AWS credentials were found"
            raise AuthError(msg, reason="NO_CREDENTIALS")
        request = AWSRequest("POST", url, headers=dict(headers), data=payload)
        region = client("sagemaker-runtime", identity).meta.region_name
        SigV4Auth(credentials.get_frozen_credentials(), service, region).add_auth(request)
    return dict(request.headers.items())


def _session(identity: Identity) -> _Session:
    with _LOCK:
        key = (os.getpid(), identity)
        if key not in _SESSIONS:
            _SESSIONS[key] = _Session(_made(identity))
        return _SESSIONS[key]


def _made(identity: Identity) -> Any:
    from botocore.credentials import AssumeRoleCredentialFetcher, DeferredRefreshableCredentials
    from botocore.session import Session

    session: Any = Session()
    if identity.region:
        session.set_config_variable("region", identity.region)
    if not identity.role:
        return session
    own = _session(Identity(region=identity.region)).session
    extra: dict[str, Any] = {
        "RoleSessionName": re.sub(r"[^A-Za-z0-9_+=,.@-]", "-", identity.session)[:_MAX_NAME],
        "DurationSeconds": _ROLE_S,
    }
    extra |= {"ExternalId": identity.external_id} if identity.external_id else {}
    extra |= {"Policy": identity.policy} if identity.policy else {}
    fetcher = AssumeRoleCredentialFetcher(
        client_creator=own.create_client,
        source_credentials=own.get_credentials(),
        role_arn=identity.role,
        extra_args=extra,
    )
    session._credentials = DeferredRefreshableCredentials(  # noqa: SLF001 - botocore has no other way
        refresh_using=fetcher.fetch_credentials, method="assume-role"
    )
    return session


def faults() -> tuple[type[Exception], ...]:
    """Every error that clients of AWS raise."""
    from botocore.exceptions import BotoCoreError, ClientError

    return BotoCoreError, ClientError


def upload(
    path: Path,
    where: str,
    *,
    identity: Identity = OURSELVES,
    options: Mapping[str, str] | None = None,
) -> None:
    """Copy a file to S3, in parts when it is large; the object appears when all are there.

    Parameters
    ----------
    path
        The file.
    where
        ``s3://bucket/key``.
    identity
        Who writes.
    options
        Parameters of PutObject, such as ``ACL`` or ``ServerSideEncryption``.
    """
    from s3transfer.manager import TransferManager

    bucket, _, key = where.removeprefix("s3://").partition("/")
    with TransferManager(client("s3", identity)) as manager:
        manager.upload(str(path), bucket, key, extra_args=dict(options or {})).result()


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Errors of AWS as errors of an endpoint; the message never holds a secret."""
    from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError, NoCredentialsError

    try:
        yield
    except ClientError as error:
        raise error_of(what, error.response) from error
    except NoCredentialsError as error:
        msg = f"{what}: no AWS credentials were found"
        raise AuthError(msg, reason="NO_CREDENTIALS") from error
    except HTTPClientError as error:
        msg = f"{what}: {type(error).__name__}"
        raise UnreachableError(msg, reason="CONNECT") from error
    except BotoCoreError as error:
        msg = f"{what}: {error}"
        raise AuthError(msg, reason="AWS") from error


def error_of(what: str, response: Mapping[str, Any]) -> EndpointError:
    """The error that a service's answer means.

    Parameters
    ----------
    what
        Which endpoint, for the message.
    response
        As botocore parses it: ``Error`` with ``Code`` and ``Message``, ``ResponseMetadata``.
    """
    said = response.get("Error", {})
    code, message = str(said.get("Code", "")), str(said.get("Message", ""))
    status = int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    text = f"{what}: {code}: {' '.join(message.split())[:300]}"
    if code in _THROTTLED or status == 429:  # noqa: PLR2004
        return CapacityError(text, reason="THROTTLED")
    if code in _AUTH:
        return AuthError(text, reason=code.upper())
    kind = TransientError if status >= 500 else PermanentError  # noqa: PLR2004
    return kind(text, reason=code or f"HTTP_{status}")
