"""Roles that requests name: assumed as the deployment wants, for one thing each, or not at all."""

import json
from typing import Any
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

import pytest
from aiohttp import web

from daskmr.testing.servers import serving
from tests.service.conftest import World

pytestmark = pytest.mark.services

ROLE = "arn:aws:iam::123456789012:role/imagery"
CREDENTIALS = """<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
<AssumeRoleResult><AssumedRoleUser><Arn>{arn}</Arn><AssumedRoleId>A:b</AssumedRoleId>
</AssumedRoleUser><Credentials><AccessKeyId>ASIATEST</AccessKeyId>
<SecretAccessKey>secret</SecretAccessKey><SessionToken>token</SessionToken>
<Expiration>2099-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleResult>
</AssumeRoleResponse>"""


async def sts(request: web.Request, _number: int) -> web.StreamResponse:
    """Grants every role."""
    arn = parse_qs((await request.read()).decode())["RoleArn"][0]
    return web.Response(text=CREDENTIALS.format(arn=escape(arn)), content_type="text/xml")


def test_roles_are_assumed_with_external_id_name_and_policy(moto_world: World) -> None:
    world = moto_world
    world.client("s3").create_bucket(Bucket="pictures")
    world.client("s3").upload_file(world.image, "pictures", "scene.tif")
    roles: dict[str, Any] = {
        "imageUrls": ["s3://pictures/scene.tif"],
        "imageReadRole": ROLE,
        "outputs": [
            {"type": "S3", "bucket": world.bucket, "prefix": "out", "role": ROLE},
            {"type": "Kinesis", "stream": world.stream, "assumedRole": ROLE},
        ],
    }
    with serving(sts) as guard:
        world.send(world.request("roles", **roles))
        world.run_once(
            "--allow-role", f"{ROLE}=agreed", "--allow-image", "s3://pictures",
            AWS_ENDPOINT_URL_STS=guard.url,
        )  # fmt: skip
        asked = [parse_qs(body.decode()) for _, body in guard.requests]
    assert world.labels("roles") == list(range(16))
    assert {call["ExternalId"][0] for call in asked} == {"agreed"}
    assert {call["RoleSessionName"][0] for call in asked} == {"daskmr-roles"}
    allowed = {
        (action, resource)
        for call in asked
        for statement in json.loads(call["Policy"][0])["Statement"]
        for action in statement["Action"]
        for resource in statement["Resource"]
    }
    assert ("s3:GetObject", "arn:aws:s3:::pictures/scene.tif") in allowed
    assert ("s3:PutObject", f"arn:aws:s3:::{world.bucket}/out/*") in allowed
    assert ("kinesis:PutRecords", f"arn:aws:kinesis:*:*:stream/{world.stream}") in allowed


def test_a_role_that_is_refused_fails_the_request_and_is_never_replaced_by_ours(
    moto_world: World,
) -> None:
    world = moto_world

    async def refusing(_request: web.Request, _number: int) -> web.StreamResponse:
        text = "<ErrorResponse><Error><Code>AccessDenied</Code><Message>no</Message></Error>"
        return web.Response(
            status=403, text=f"{text}</ErrorResponse>", content_type="text/xml"
        )  # fmt: skip

    world.client("s3").create_bucket(Bucket="pictures")
    world.client("s3").upload_file(world.image, "pictures", "scene.tif")
    with serving(refusing) as guard:
        world.send(
            world.request("denied", imageUrls=["s3://pictures/scene.tif"], imageReadRole=ROLE)
        )
        world.run_once(
            "--allow-role", ROLE, "--allow-image", "s3://pictures", AWS_ENDPOINT_URL_STS=guard.url
        )
    (buried,) = world.messages(world.dead)
    assert "AccessDenied" in buried["MessageAttributes"]["daskmrReason"]["StringValue"]
    assert world.model.requests == []
