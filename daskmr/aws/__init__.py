"""Access Amazon Web Services; no other package imports botocore.

There is one session for each process, region and role. Credentials of a role are renewed before
they expire; those that a service calls expired are read again, also by `forget`. `policies` writes
session policies, `sagemaker` describes endpoints.
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
from urllib.parse import urlsplit

from daskmr.errors import (
    AuthError,
    CapacityError,
    EndpointError,
    ExpiredCredentialsError,
    PermanentError,
    TransientError,
    UnreachableError,
)

CONNECT_TIMEOUT_S, READ_TIMEOUT_S = 5, 60
_ROLE_S = 3600
"""Duration of a role's credentials, seconds; botocore renews them after three quarters of it."""
_MAX_NAME = 64
_FRESH_S = 5.0
_CLIENTS = 64
_THROTTLED = frozenset(
    {"Throttling", "ThrottlingException", "TooManyRequestsException", "SlowDown"}
)
_AUTH = frozenset(
    {
        "AccessDenied", "AccessDeniedException", "IncompleteSignature", "InvalidSignatureException",
        "MissingAuthenticationToken", "MissingAuthenticationTokenException",
        "SignatureDoesNotMatch",
    }
)  # fmt: skip
EXPIRED = frozenset(
    {
        "ExpiredToken", "ExpiredTokenException", "InvalidAccessKeyId", "InvalidClientTokenId",
        "InvalidToken", "RequestExpired", "TokenRefreshRequired", "UnrecognizedClientException",
    }
)  # fmt: skip
"""Error codes of credentials that have expired or are being rotated."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Identity and region of AWS calls."""

    role: str = ""
    """ARN of a role to assume; empty for the credentials of this process."""
    region: str | None = None
    """AWS region; None for the configured one."""
    external_id: str = ""
    """External id that the trust policy of the role requires; empty for none."""
    session: str = "daskmr"
    """Name of the session in the CloudTrail of the role's account."""
    policy: str = ""
    """Session policy as JSON, which limits the role (`daskmr.aws.policies`); empty for none."""


OURSELVES = Identity()
"""Credentials of this process, in the configured region."""


@dataclass
class _Session:
    session: Any
    created_at: float = field(default_factory=monotonic)
    clients: dict[str, Any] = field(default_factory=dict)


_LOCK = threading.RLock()
_SESSIONS: dict[tuple[int, Identity], _Session] = {}


def client(service: str, identity: Identity = OURSELVES) -> Any:
    """Return the client of a service, one for each process, service and identity.

    Raises
    ------
    AuthError
        When no region is configured.
    """
    from botocore.config import Config
    from botocore.exceptions import NoRegionError

    entry = _session(identity)
    with _LOCK:
        if service not in entry.clients:
            config = Config(
                connect_timeout=CONNECT_TIMEOUT_S,
                read_timeout=READ_TIMEOUT_S,
                max_pool_connections=_CLIENTS,
                retries={"total_max_attempts": 3, "mode": "standard"},
            )
            try:
                entry.clients[service] = entry.session.create_client(service, config=config)
            except NoRegionError as error:
                msg = f"{service}: no AWS region is configured; set AWS_DEFAULT_REGION"
                raise AuthError(msg, reason="NO_REGION") from error
        return entry.clients[service]


def gdal_options() -> dict[str, str]:
    """Return GDAL's options for the S3 service that boto3 is configured for; none for AWS itself.

    boto3 and s3fs follow ``AWS_ENDPOINT_URL``, ``AWS_ENDPOINT_URL_S3`` and the ``endpoint_url`` of
    a profile; GDAL has names of its own, which are left alone where they are set.
    """
    if "AWS_S3_ENDPOINT" in os.environ:
        return {}
    try:
        s3 = client("s3")
    except AuthError:
        return {}
    endpoint = urlsplit(s3.meta.endpoint_url)
    host = endpoint.hostname or ""
    if host.endswith((".amazonaws.com", ".amazonaws.com.cn")):
        return {}
    is_virtual = (s3.meta.config.s3 or {}).get("addressing_style") == "virtual"
    return {
        "AWS_S3_ENDPOINT": endpoint.netloc + endpoint.path.rstrip("/"),
        "AWS_HTTPS": "YES" if endpoint.scheme == "https" else "NO",
        "AWS_VIRTUAL_HOSTING": "TRUE" if is_virtual else "FALSE",  # botocore: path where not told
    }


@dataclass(frozen=True, slots=True)
class CredentialSource:
    """Our own credentials and region, in the form in which rasterio reads them from boto3."""

    _session: Any
    region_name: str | None
    """Configured region; None for none."""

    def get_credentials(self) -> Any:
        """Return botocore's credentials; None without any."""
        try:
            with translate_errors("credentials"):
                return self._session.get_credentials()
        except EndpointError:
            return None


def credential_source() -> CredentialSource:
    """Return the source of the credentials of this process."""
    session = _session(OURSELVES).session
    return CredentialSource(session, session.get_config_variable("region"))


def forget(identity: Identity) -> None:
    """Discard the session of an identity, unless it is new, so that credentials are read again.

    The session that assumes the role of the identity is discarded as well.
    """
    with _LOCK:
        for each in (identity, Identity(region=identity.region)):
            entry = _SESSIONS.get((os.getpid(), each))
            if entry is not None and monotonic() - entry.created_at > _FRESH_S:
                del _SESSIONS[os.getpid(), each]


def _forget_all() -> None:
    """Discard all sessions of this process that are not new."""
    with _LOCK:
        for _, identity in [key for key in _SESSIONS if key[0] == os.getpid()]:
            forget(identity)


def close() -> None:
    """Close all clients and discard all sessions of this process."""
    with _LOCK:
        for entry in _SESSIONS.values():
            for service_client in entry.clients.values():
                service_client.close()
        _SESSIONS.clear()


def sign_headers(
    service: str, url: str, payload: bytes, *, headers: Mapping[str, str], identity: Identity
) -> dict[str, str]:
    """Return headers with the signature of a POST (Signature Version 4).

    Parameters
    ----------
    service
        Name of the service in the signature.
    url, payload, headers
        The request.
    identity
        Identity that signs.

    Raises
    ------
    AuthError
        When there are no credentials.
    """
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest

    session = _session(identity).session
    with translate_errors(service):
        credentials = session.get_credentials()
        if credentials is None:
            msg = f"{service}: no AWS credentials were found"
            raise ExpiredCredentialsError(msg, reason="NO_CREDENTIALS")
        request = AWSRequest("POST", url, headers=dict(headers), data=payload)
        region = client("sagemaker-runtime", identity).meta.region_name
        SigV4Auth(credentials.get_frozen_credentials(), service, region).add_auth(request)
    return dict(request.headers.items())


def _session(identity: Identity) -> _Session:
    if not identity.role:  # whatever the name of its session is, which only a role has
        identity = Identity(region=identity.region)
    with _LOCK:
        key = (os.getpid(), identity)
        if key not in _SESSIONS:
            _SESSIONS[key] = _Session(_create_session(identity))
        return _SESSIONS[key]


def _create_session(identity: Identity) -> Any:
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
    session._credentials = DeferredRefreshableCredentials(  # noqa: SLF001 - botocore has no public API for it
        refresh_using=fetcher.fetch_credentials, method="assume-role"
    )
    return session


def client_errors() -> tuple[type[Exception], ...]:
    """Return the base classes of the errors that AWS clients raise."""
    from botocore.exceptions import BotoCoreError, ClientError

    return BotoCoreError, ClientError


def upload(
    path: Path,
    where: str,
    *,
    identity: Identity = OURSELVES,
    options: Mapping[str, str] | None = None,
) -> None:
    """Upload a file to S3, in parts when it is large; the object appears when it is complete.

    Parameters
    ----------
    path
        The file.
    where
        ``s3://bucket/key``.
    identity
        Identity that writes.
    options
        Parameters of PutObject, such as ``ACL`` or ``ServerSideEncryption``.
    """
    from s3transfer.manager import TransferManager

    bucket, _, key = where.removeprefix("s3://").partition("/")
    with TransferManager(client("s3", identity)) as manager:
        manager.upload(str(path), bucket, key, extra_args=dict(options or {})).result()


@contextmanager
def translate_errors(name: str) -> Iterator[None]:
    """Raise errors of AWS as endpoint errors, whose messages contain no secrets.

    Parameters
    ----------
    name
        Name of the service or resource, for the message.
    """
    from botocore import exceptions as raised

    try:
        yield
    except raised.ClientError as error:
        translated = error_of(name, error.response)
        if isinstance(translated, ExpiredCredentialsError):
            _forget_all()
        raise translated from error
    except (
        raised.NoCredentialsError,
        raised.CredentialRetrievalError,
        raised.MetadataRetrievalError,
    ) as error:
        _forget_all()
        msg = f"{name}: no AWS credentials were found"
        raise ExpiredCredentialsError(msg, reason="NO_CREDENTIALS") from error
    except raised.SSLError as error:
        msg = f"{name}: the server's certificate is not trusted"
        raise AuthError(msg, reason="TLS") from error
    except (raised.HTTPClientError, raised.ConnectionError, raised.IncompleteReadError) as error:
        msg = f"{name}: {type(error).__name__}"
        raise UnreachableError(msg, reason="CONNECT") from error
    except raised.BotoCoreError as error:
        msg = f"{name}: {error}"
        raise AuthError(msg, reason="AWS") from error


def error_of(name: str, response: Mapping[str, Any]) -> EndpointError:
    """Return the error for an error response of a service.

    Parameters
    ----------
    name
        Name of the endpoint, for the message.
    response
        Response as parsed by botocore: ``Error`` with ``Code`` and ``Message``,
        ``ResponseMetadata``.
    """
    details = response.get("Error", {})
    code, message = str(details.get("Code", "")), str(details.get("Message", ""))
    status = int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    text = f"{name}: {code}: {' '.join(message.split())[:300]}"
    if code in _THROTTLED or status == 429:  # noqa: PLR2004
        return CapacityError(text, reason="THROTTLED")
    if code in EXPIRED:
        return ExpiredCredentialsError(text, reason=code.upper())
    if code in _AUTH:
        return AuthError(text, reason=code.upper())
    kind = TransientError if status >= 500 else PermanentError  # noqa: PLR2004
    return kind(text, reason=code or f"HTTP_{status}")
