"""S3 services other than AWS: GDAL is told what boto3 is told, however that is."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import daskmr
from daskmr import aws
from daskmr.testing.images import write_image

ENDPOINTS = ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3")


@pytest.fixture
def scene(s3: Any, tmp_path: Path) -> str:
    path = write_image(tmp_path / "x.tif", np.full((1, 64, 64), 9, np.uint8))
    s3.upload_file(str(path), "bucket", "images/x.tif")
    return "s3://bucket/images/x.tif"


@pytest.mark.parametrize("how", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "profile", "services"])
def test_one_variable_is_enough_for_images_and_results(
    how: str, scene: str, s3: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = s3.meta.endpoint_url
    for name in ENDPOINTS:
        monkeypatch.delenv(name, raising=False)
    if how in ENDPOINTS:
        monkeypatch.setenv(how, url)
    else:
        plain = f"[profile lab]\nendpoint_url = {url}\n"
        services = (
            f"[profile lab]\nservices = here\n[services here]\ns3 =\n  endpoint_url = {url}\n"
        )
        (tmp_path / "config").write_text(plain if how == "profile" else services)
        monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
        monkeypatch.setenv("AWS_PROFILE", "lab")
    aws.close()
    report = daskmr.run(
        scene, "centerpoint", tile_size=32, overlap=0, out="s3://bucket/out", job_id=how
    ).report
    assert report.outcomes == {"SUCCEEDED": 4}
    keys = [each["Key"] for each in s3.list_objects_v2(Bucket="bucket")["Contents"]]
    assert f"out/{how}.geojson" in keys


def test_gdal_is_told_the_host_the_scheme_and_the_style(
    s3: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def options(config: str) -> dict[str, str]:
        (tmp_path / "config").write_text(f"[default]\n{config}")
        monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
        aws.close()
        return aws.gdal_options()

    for name in ENDPOINTS:
        monkeypatch.delenv(name, raising=False)
    assert options("region = eu-west-1\n") == {}
    assert options("region = cn-north-1\n") == {}
    assert options("endpoint_url = https://s3.example.com/\n") == {
        "AWS_S3_ENDPOINT": "s3.example.com", "AWS_HTTPS": "YES", "AWS_VIRTUAL_HOSTING": "FALSE",
    }  # fmt: skip
    assert options("endpoint_url = http://minio:9000\ns3 =\n  addressing_style = virtual\n") == {
        "AWS_S3_ENDPOINT": "minio:9000", "AWS_HTTPS": "NO", "AWS_VIRTUAL_HOSTING": "TRUE",
    }  # fmt: skip
    monkeypatch.setenv("AWS_S3_ENDPOINT", "mine:1")
    assert options("endpoint_url = https://s3.example.com/\n") == {}
