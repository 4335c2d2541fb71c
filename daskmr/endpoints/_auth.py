"""Credentials for an HTTP endpoint: from configuration, never from a request."""

from base64 import b64encode
from collections.abc import Mapping

from pydantic import SecretStr

from daskmr.errors import RequestError
from daskmr.registry import plugin


@plugin
class Bearer:
    """A token: ``Authorization: Bearer ...`` (RFC 6750)."""

    token: SecretStr
    """The token."""

    def headers(self) -> dict[str, str]:
        """Return the header that is sent with every tile."""
        return {"Authorization": f"Bearer {self.token.get_secret_value()}"}


@plugin
class Basic:
    """A user name and a password (RFC 7617)."""

    username: str
    """User name, without a colon."""
    password: SecretStr
    """Password."""

    def headers(self) -> dict[str, str]:
        """Return the header that is sent with every tile."""
        pair = f"{self.username}:{self.password.get_secret_value()}"
        return {"Authorization": f"Basic {b64encode(pair.encode()).decode('ascii')}"}


@plugin
class ApiKey:
    """A key in a header of its own."""

    key: SecretStr
    """The key."""
    header: str = "X-Api-Key"
    """Name of the header."""

    def headers(self) -> dict[str, str]:
        """Return the header that is sent with every tile."""
        return {self.header: self.key.get_secret_value()}


Auth = Bearer | Basic | ApiKey
"""Any kind of credentials."""


def parse_auth(entry: Mapping[str, str], *, place: str) -> Auth:
    """Return the credentials of an entry of the configuration.

    Parameters
    ----------
    entry
        ``{"bearer": TOKEN}``, ``{"username": NAME, "password": WORD}`` or
        ``{"api-key": KEY, "header": NAME}``, the last name optional.
    place
        Name of the setting, for the message.

    Raises
    ------
    RequestError
        When it is none of these; names the keys, never a value.
    """
    names = set(entry)
    if names == {"bearer"}:
        return Bearer(token=SecretStr(entry["bearer"]))
    if names == {"username", "password"}:
        return Basic(username=entry["username"], password=SecretStr(entry["password"]))
    if "api-key" in names and names <= {"api-key", "header"}:
        header = {"header": entry["header"]} if "header" in entry else {}
        return ApiKey(key=SecretStr(entry["api-key"]), **header)
    msg = f"{place}: {sorted(names)} is none of bearer; username and password; api-key and header"
    raise RequestError(msg)
