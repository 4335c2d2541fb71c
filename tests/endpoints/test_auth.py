"""Who we are: from the configuration, never from a request, and never in a message."""

import pickle
from typing import Any

import dask
import pytest
from pydantic import SecretStr

from daskmr.endpoints._auth import ApiKey, Basic, Bearer, parse_auth
from daskmr.endpoints.http import HttpEndpoint
from daskmr.errors import RequestError
from daskmr.planning.endpoint_options import endpoint_hints
from daskmr.planning.settings import Settings
from daskmr.testing.contracts_endpoints import invoke_once
from daskmr.testing.servers import EMPTY, saying, serving

SECRET = "canary-3f9a"  # noqa: S105 - a canary


@pytest.mark.parametrize(
    ("said", "header", "value"),
    [
        ({"bearer": SECRET}, "Authorization", f"Bearer {SECRET}"),
        ({"username": "me", "password": "pw"}, "Authorization", "Basic bWU6cHc="),
        ({"api-key": SECRET}, "X-Api-Key", SECRET),
        ({"api-key": SECRET, "header": "X-Functions-Key"}, "X-Functions-Key", SECRET),
    ],
)
def test_each_kind_is_sent_with_every_tile(said: dict[str, str], header: str, value: str) -> None:
    with serving(saying(EMPTY)) as server:
        invoke_once(HttpEndpoint(url=server.url, auth=parse_auth(said, place="x")))
    assert server.requests[0][0][header] == value


@pytest.mark.parametrize(
    "said", [{}, {"token": "x"}, {"bearer": "x", "api-key": "y"}, {"username": "me"}]
)
def test_what_is_none_of_them_is_refused_without_its_values(said: dict[str, str]) -> None:
    with pytest.raises(RequestError, match=r"daskmr\.auth") as caught:
        parse_auth(dict.fromkeys(said, SECRET), place="daskmr.auth")
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "auth",
    [
        Bearer(token=SecretStr(SECRET)),
        Basic(username="me", password=SecretStr(SECRET)),
        ApiKey(key=SecretStr(SECRET)),
    ],
)
def test_no_secret_shows_and_all_travel(auth: Any) -> None:
    endpoint = HttpEndpoint(url="http://127.0.0.1/", auth=auth)
    assert SECRET not in f"{endpoint!r} {endpoint} {auth} {auth!r}"
    again = pickle.loads(pickle.dumps(endpoint))  # noqa: S301 - our own bytes
    assert again == endpoint
    assert again.auth.headers() == auth.headers()


def found(url: str, configured: dict[str, Any]) -> Any:
    with dask.config.set({"daskmr.auth": configured}):
        return endpoint_hints(url, Settings.of({})).auth


def test_the_configuration_is_asked_by_origin() -> None:
    said = {"https://models.example": {"bearer": SECRET}}
    made = Bearer(token=SecretStr(SECRET))
    assert found("https://models.example/v1/x", said) == made
    assert found("https://models.example:443/v1/x", said) == made
    for other in (
        "http://models.example/",
        "https://models.example:8443/",
        "https://models.example.evil/",
        "https://evil/?https://models.example/",
        "sagemaker://models.example",
    ):
        assert found(other, said) is None


def test_an_entry_that_cannot_be_read_is_named() -> None:
    with pytest.raises(RequestError, match=r"daskmr\.auth\.https://a: Input should be"):
        found("https://a/", {"https://a": SECRET})
    with pytest.raises(RequestError, match="none of bearer") as caught:
        found("https://a/", {"https://a": {"bear": SECRET}})
    assert SECRET not in str(caught.value)
