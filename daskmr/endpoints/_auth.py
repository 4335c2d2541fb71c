"""How we say who we are to an HTTP endpoint: from configuration, never from a request."""

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
        """What is sent with every tile."""
        return {"Authorization": f"Bearer {self.token.get_secret_value()}"}


@plugin
class Basic:
    """A user name and a password (RFC 7617)."""

    username: str
    """User name, without a colon."""
    password: SecretStr
    """Password."""

    def headers(self) -> dict[str, str]:
        """What is sent with every tile."""
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
        """What is sent with every tile."""
        return {self.header: self.key.get_secret_value()}


Auth = Bearer | Basic | ApiKey
"""Any of them."""


def auth_of(said: Mapping[str, str], *, place: str) -> Auth:
    """The one that an entry of the configuration means.

    Parameters
    ----------
    said
        ``{"bearer": TOKEN}``, ``{"username": NAME, "password": WORD}`` or
        ``{"api-key": KEY, "header": NAME}``, the last name optional.
    place
        Where it stands, for the message.

    Raises
    ------
    RequestError
        When it is none of these; names the keys, never a value.
    """
    names = set(said)
    if names == {"bearer"}:
        return Bearer(token=SecretStr(said["bearer"]))
    if names == {"username", "password"}:
        return Basic(username=said["username"], password=SecretStr(said["password"]))
    if "api-key" in names and names <= {"api-key", "header"}:
        header = {"header": said["header"]} if "header" in said else {}
        return ApiKey(key=SecretStr(said["api-key"]), **header)
    msg = f"{place}: {sorted(names)} is none of bearer; username and password; api-key and header"
    raise RequestError(msg)
