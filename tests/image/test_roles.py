"""Images that are read with a role: as that role alone, whatever others have read before."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, unquote

import numpy as np
import pytest
from aiohttp import web

from daskmr import aws
from daskmr.aws import Identity
from daskmr.aws.policies import reading
from daskmr.core.grid import Window
from daskmr.errors import ImageError
from daskmr.image import Door, open_image
from daskmr.testing.images import write_image
from daskmr.testing.servers import Served, serving

PIXELS = np.random.default_rng(7).integers(0, 255, (3, 700, 900)).astype(np.uint8)
WHOLE = Window(row=0, col=0, height=700, width=900)
URL = "s3://bucket/images/x.tif"
CREDENTIALS = """<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
<AssumeRoleResult><AssumedRoleUser><Arn>arn:aws:sts::1:assumed-role/x</Arn>
<AssumedRoleId>A:b</AssumedRoleId></AssumedRoleUser><Credentials><AccessKeyId>{key}</AccessKeyId>
<SecretAccessKey>secret</SecretAccessKey><SessionToken>token</SessionToken>
<Expiration>2099-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleResult>
</AssumeRoleResponse>"""

REFUSAL = (
    "<ErrorResponse><Error><Code>AccessDenied</Code><Message>no</Message></Error></ErrorResponse>"
)


def role(name: str) -> str:
    return f"arn:aws:iam::123456789012:role/{name}"


def door(name: str) -> Door:
    return Door(identity=Identity(role=role(name)))


@pytest.fixture
def guard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    """STS, and an S3 whose one object the role ``reader`` may read, by header or signed address."""
    content = write_image(tmp_path / "x.tif", PIXELS).read_bytes()

    async def answer(request: web.Request, _number: int) -> web.StreamResponse:
        if request.method == "POST":
            name = parse_qs((await request.read()).decode())["RoleArn"][0].rpartition("/")[2]
            if name == "away":
                return web.Response(status=403, text=REFUSAL)
            key = f"ASIA{name.upper()}"
            return web.Response(text=CREDENTIALS.format(key=key), content_type="text/xml")
        said = request.headers.get("Authorization", "") + unquote(request.query_string)
        keys = re.findall(r"Credential=(\w+)/|AWSAccessKeyId=(\w+)", said)
        if not keys or "ASIAREADER" not in keys[0]:
            return web.Response(status=403)
        start, _, stop = (
            request.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")
        )
        first, last = int(start), min(int(stop or len(content)), len(content) - 1)
        headers = {"ETag": '"1"', "Content-Range": f"bytes {first}-{last}/{len(content)}"}
        status = 206 if "Range" in request.headers else 200
        return web.Response(status=status, body=content[first : last + 1], headers=headers)

    with serving(answer) as served:
        for service in ("S3", "STS"):
            monkeypatch.setenv(f"AWS_ENDPOINT_URL_{service}", served.url)
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", served.url)
        for name, value in {
            "AWS_ACCESS_KEY_ID": "ours",
            "AWS_SECRET_ACCESS_KEY": "ours",
            "AWS_DEFAULT_REGION": "us-east-1",
        }.items():
            monkeypatch.setenv(name, value)
        aws.close()
        yield served
        aws.close()


@pytest.mark.usefixtures("guard")
def test_a_role_reads_what_it_may() -> None:
    image = open_image(URL, door=door("reader"))
    assert image.info.etag
    assert image.source is not None
    assert (image.source.read(WHOLE) == PIXELS).all()
    part = image.data.isel(y=slice(100, 300), x=slice(50, 80)).to_numpy()
    assert (part == PIXELS[:, 100:300, 50:80]).all()


@pytest.mark.usefixtures("guard")
def test_what_one_role_has_read_another_is_not_shown() -> None:
    reader = open_image(URL, door=door("reader")).source
    assert reader is not None
    reader.read(WHOLE)
    with pytest.raises(ImageError, match="cannot be read as arn:aws:iam::123456789012:role/other"):
        open_image(URL, door=door("other"))
    with pytest.raises(ImageError):  # nor are we ourselves
        open_image(URL)
    reader.read(WHOLE)
    with pytest.raises(ImageError):  # also while the first has it open
        open_image(URL, door=door("other"))


@pytest.mark.usefixtures("guard")
def test_a_role_that_cannot_be_assumed_is_an_error_and_never_ourselves() -> None:
    with pytest.raises(ImageError, match=r"cannot be read as .*/away: .*AccessDenied"):
        open_image(URL, door=door("away"))


def test_no_signature_is_told_when_an_object_is_no_image(guard: Served) -> None:
    with pytest.raises(ImageError, match=r"^s3://bucket/") as told:
        open_image("s3://bucket/a?b", door=door("reader"))
    assert "Signature" not in str(told.value)
    assert guard.url not in str(told.value)


def test_a_session_may_read_its_object_only() -> None:
    said = json.loads(reading(role("r"), "bucket", "a*b?.tif"))
    (statement,) = said["Statement"]
    assert statement["Action"] == ["s3:GetObject"]
    assert statement["Resource"] == ["arn:aws:s3:::bucket/a${*}b${?}.tif"]
