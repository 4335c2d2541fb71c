"""What a listener lets requests name, and the option that would allow the rest."""

from typing import Any

import pytest
from click.testing import CliRunner

from daskmr.cli import cli
from daskmr.core.request import ImageRequest
from daskmr.errors import RequestError
from daskmr.service.policy import RequestPolicy, allow_all

LISTS: dict[str, Any] = {
    "images": ("s3://imagery/2026", "s3://open-*", "https://Images.example/a", "/data"),
    "models": ("models.example", "10.0.0.1:8080"),
    "endpoints": ("ships*",),
    "outputs": ("s3://results/area", "kinesis:features"),
    "roles": {"arn:aws:iam::1:role/*": "us"},
}


def request(**fields: Any) -> ImageRequest:
    return ImageRequest.from_json({
        "jobId": "a", "imageUrls": ["s3://imagery/2026/x.tif"], "imageProcessor": {"name": "ships"},
        "outputs": [{"type": "S3", "bucket": "results", "prefix": "area"}], **fields,
    })  # fmt: skip


def web(url: str) -> dict[str, Any]:
    return {"imageProcessor": {"name": url, "type": "HTTP_ENDPOINT"}}


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {
            "imageUrls": [
                "s3://open-data/any/x.tif",
                "https://images.example/a/b.tif",
                "/data/x.tif",
            ]
        },
        web("https://models.example/x"),
        web("http://models.example:9999/x"),
        web("http://10.0.0.1:8080/x"),
        {"outputs": [{"type": "S3", "bucket": "results", "prefix": "area/day"}]},
        {"outputs": [{"type": "Kinesis", "stream": "features"}]},
        {"imageReadRole": "arn:aws:iam::1:role/reader"},
    ],
)
def test_what_is_listed_is_allowed(fields: dict[str, Any]) -> None:
    RequestPolicy(**LISTS).check(request(**fields))


@pytest.mark.parametrize(
    ("fields", "way"),
    [
        ({"imageUrls": ["s3://imagery/2025/x.tif"]}, "--allow-image s3://imagery"),
        ({"imageUrls": ["s3://imagery/2026x/x.tif"]}, "--allow-image s3://imagery"),
        ({"imageUrls": ["s3://imagery/2026/../x.tif"]}, "--allow-image s3://imagery"),
        (
            {"imageUrls": ["https://images.example/a/%2e%2e/b.tif"]},
            "--allow-image https://images.ex",
        ),
        ({"imageUrls": ["https://images.example:8443/a/b.tif"]}, "--allow-image https://images.ex"),
        (web("http://10.0.0.1:8081/x"), "--allow-model 10.0.0.1:8081"),
        (web("http://models.example.org/x"), "--allow-model models.example.org"),
        ({"imageProcessor": {"name": "planes"}}, "--allow-endpoint planes"),
        (
            {"outputs": [{"type": "S3", "bucket": "results", "prefix": "areas"}]},
            "--allow-output s3://results/areas",
        ),
        ({"outputs": [{"type": "Kinesis", "stream": "other"}]}, "--allow-output kinesis:other"),
        ({"imageReadRole": "arn:aws:iam::2:role/r"}, "--allow-role arn:aws:iam::2:role/r"),
    ],
)
def test_a_refusal_names_the_option_that_would_allow_it(fields: dict[str, Any], way: str) -> None:
    with pytest.raises(RequestError) as caught:
        RequestPolicy(**LISTS).check(request(**fields))
    assert f"; {way}" in str(caught.value)
    assert str(caught.value).endswith(" would allow it")
    climbs = any(part in str(fields) for part in ("..", "%2e"))
    if not climbs:
        allow_all().check(request(**fields))


def test_a_listener_without_lists_does_not_start() -> None:
    words = ["listen", "--queue", "http://127.0.0.1:9/q", "--store", "jobs"]
    lists = {
        "--allow-image": "s3://b", "--allow-model": "h", "--allow-output": "s3://b",
    }  # fmt: skip
    for left_out, named in {
        "--allow-image": "--allow-image",
        "--allow-model": "--allow-model or --allow-endpoint",
        "--allow-output": "--allow-output",
    }.items():
        rest = [word for flag, value in lists.items() if flag != left_out for word in (flag, value)]
        done = CliRunner().invoke(cli, [*words, *rest])
        assert done.exit_code == 2
        assert f"missing {named}: " in done.output
        assert "--allow-all" in done.output
