"""What users install works: results are right, and stderr says nothing that is not ours."""

import json
import re
import socket
import subprocess
import urllib.request
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest

from daskmr.core.grid import Window
from daskmr.encode import encoder
from daskmr.encode.base import PlacedTileEncoder
from daskmr.testing.contracts_encode import image, noise
from daskmr.testing.contracts_geolocate import SAR_SIZE, sicd_xml

pytestmark = pytest.mark.install

README = Path(__file__).parents[2] / "README.md"
N_OBJECTS = 30
TILES = ("--tile-size", 512, "--overlap", 64)
N_TILES = 9
RUN = ("run", "scene.tif", "-m", "blobs", *TILES, "-o", "out")
NOWHERE = "127.0.0.1:9"
"""Nobody listens there."""


def test_a_run_finds_each_object(each: Any) -> None:
    done = each.run(*RUN, "--workers", 1, "--json")
    report = json.loads(done.stdout)
    assert (report["status"], report["n_tiles"], report["n_merged"]) == (
        "SUCCESS", N_TILES, N_OBJECTS,
    )  # fmt: skip
    assert done.stderr == ""
    (table,) = (each.folder / "out").glob("*.parquet")
    assert len(gpd.read_parquet(table)) == N_OBJECTS


def test_the_doctor_names_the_extra(each: Any) -> None:
    done = each.run("doctor")
    (extras,) = re.findall(r"^ok +extras: (.*)$", done.stdout, re.MULTILINE)
    assert ("none" if each.name == "plain" else each.name) in extras.split(", ")
    assert done.stderr == ""
    assert not re.findall(r"^(?!ok)", done.stdout, re.MULTILINE)[1:]


def readme_lines() -> list[str]:
    """The first block of Python of the README."""
    return README.read_text().split("```python\n")[1].split("```")[0].splitlines()


def test_the_five_lines_of_the_readme(plain: Any) -> None:
    lines = [
        *readme_lines(),
        "print(result.report.status, len(result.features), result.report.n_tiles)",
        "print('bright_object' in result.explore().html)",
        "print(result.gallery(n=5).html.count('<figure>'))",
    ]
    program = "if __name__ == '__main__':\n" + "".join(f"    {line}\n" for line in lines)
    assert plain.python(program) == f"SUCCESS {N_OBJECTS} {N_TILES}\nTrue\n10\n"


def test_a_probe_and_a_check_of_a_model(plain: Any) -> None:
    done = plain.run("plan", "scene.tif", "-m", "blobs", *TILES, "--probe", 2)
    assert f"tiles:          {N_TILES} of 512x512" in done.stdout
    assert "probe:          2 of 2 tiles answered" in done.stdout
    assert done.stderr == ""
    done = plain.run("models", "check", "blobs")
    assert "status:         answered in " in done.stdout
    assert done.stderr == ""


@contextmanager
def serving(environment: Any, name: str) -> Iterator[str]:
    """URL of a built-in model, served by the environment."""
    with subprocess.Popen(
        environment.command("serve-model", name, "--port", 0),
        env=environment.environment(), cwd=environment.folder,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        try:
            assert process.stdout is not None
            (url,) = re.findall(r"http://[\w.:]+", process.stdout.readline())
            yield f"{url}/invocations"
        finally:
            process.terminate()
            _, errors = process.communicate(timeout=60)
    assert errors in {"", "terminated\n"}


@pytest.fixture
def aws(s3: Any) -> Iterator[dict[str, str]]:
    """Variables that lead to an AWS on loopback with a queue; its bucket is ``bucket``."""
    import boto3

    url = s3.meta.endpoint_url
    client = boto3.client("sqs", endpoint_url=url)
    queue = client.create_queue(QueueName="images")["QueueUrl"]
    yield {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "DASKMR_QUEUE": queue,
        "DASKMR_STORE": "jobs",
    }
    client.delete_queue(QueueUrl=queue)
    client.close()


ALLOWED = (
    "--allow-image", "s3://bucket", "--allow-output", "s3://bucket", "--allow-endpoint", "*",
)  # fmt: skip


def submit_and_listen(environment: Any, aws: dict[str, str], s3: Any, *options: object) -> None:
    scene = environment.folder / "scene.tif"
    with serving(environment, "blobs") as url:
        words = ("--job-id", f"job-{environment.name}", *TILES, "-o", "s3://bucket/out")
        done = environment.run("submit", scene, "-m", url, *words, settings=aws)
        assert (done.stdout, done.stderr) == (f"job-{environment.name}\n", "")
        host = url.split("/")[2]
        done = environment.run(
            "listen", "--once", "--workers", 1, "--allow-model", host,
            "--allow-image", environment.folder, "--allow-output", "s3://bucket", *options,
            settings=aws,
        )  # fmt: skip
    assert done.stderr == ""
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert {r["level"] for r in records if "level" in r} == {"INFO"}, done.stdout
    key = f"out/job-{environment.name}.geojson"
    found = json.loads(s3.get_object(Bucket="bucket", Key=key)["Body"].read())
    assert len(found["features"]) == N_OBJECTS


def test_a_request_goes_through_the_queue(plain: Any, aws: dict[str, str], s3: Any) -> None:
    submit_and_listen(plain, aws, s3)


def test_the_service_measures(service: Any, aws: dict[str, str], s3: Any) -> None:
    submit_and_listen(service, aws, s3)
    with socket.socket() as made:
        made.bind(("127.0.0.1", 0))
        health = f"127.0.0.1:{made.getsockname()[1]}"
    with subprocess.Popen(
        service.command("listen", "--workers", 1, "--health", health, *ALLOWED),
        env=service.environment(aws), cwd=service.folder,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        try:
            assert process.stdout is not None
            line = ""
            while "health: " not in line:
                line = process.stdout.readline()
                assert line
            with urllib.request.urlopen(f"http://{health}/metrics") as answer:
                assert b"# TYPE daskmr_duration_seconds histogram" in answer.read()
        finally:
            process.terminate()
            _, errors = process.communicate(timeout=60)
    assert errors == ""


def test_what_is_missing_is_said_in_one_line(plain: Any) -> None:
    (plain.folder / "model.onnx").write_bytes(b"")
    for extra, words in {
        "coiled": (*RUN, "--again", "-s", "coiled:new"),
        "gateway": (*RUN, "--again", "-s", "gateway:new"),
        "kubernetes": (*RUN, "--again", "-s", "kubernetes:mr"),
        "onnx": ("run", "scene.tif", "-m", "model.onnx", "-o", "out"),
        "sar": ("plan", sicd(plain.folder), "-m", f"http://{NOWHERE}/", "--tile-format", "NITF"),
    }.items():
        done = plain.run(*words, status=5 if extra in {"coiled", "gateway", "kubernetes"} else 4)
        assert done.stdout == ""
        (line,) = done.stderr.splitlines()
        assert line.startswith("error: "), line
        assert f"daskmr[{extra}]" in line, line
    for words, option in ((("listen",), "--queue"), (("listen", "--queue", "q"), "--store")):
        done = plain.run(*words, status=2)
        assert done.stderr.splitlines()[-1] == f"Error: Missing option '{option}'."
    done = plain.run("listen", "--queue", "q", "--store", "jobs", status=2)
    assert done.stderr.splitlines()[-1].startswith(
        "Error: missing --allow-image, --allow-model or --allow-endpoint, --allow-output: "
    )
    missing = f"http://{NOWHERE}/0/queue"
    words = ("submit", "scene.tif", "-m", "sagemaker://ships", "-o", "s3://bucket/out")
    done = plain.run(*words, "--queue", missing, status=5, settings=NO_AWS)
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: {missing}: "), line


NO_AWS = {
    "AWS_ENDPOINT_URL": f"http://{NOWHERE}",
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_MAX_ATTEMPTS": "1",
}
PLOT = """
import daskmr
from daskmr.errors import RequestError

if __name__ == "__main__":
    result = daskmr.run("scene.tif", "blobs", tile_size=512, overlap=64, workers=1)
    try:
        print(sum(len(lines.get_paths()) for lines in result.plot().collections))
    except RequestError as error:
        print(error)
"""


SUITES = """
import pkgutil
from importlib import import_module

import daskmr.testing

for module in pkgutil.iter_modules(daskmr.testing.__path__):
    import_module(f"daskmr.testing.{module.name}")
print("pytest" in __import__("sys").modules)
"""


def test_contract_suites_can_be_inherited(testing: Any) -> None:
    assert testing.python(SUITES) == "True\n"


def test_plots_need_their_extra(plain: Any) -> None:
    assert plain.python(PLOT).startswith("plot: install daskmr[plot] (")


def test_plots(plot: Any) -> None:
    plot.run(plot.bin / "python", "-c", "import matplotlib.pyplot")  # looks for fonts, and says so
    assert plot.python(PLOT) == f"{N_OBJECTS}\n"


@pytest.mark.parametrize(
    ("each", "settings"),
    [
        ("coiled", {"DASK_COILED__TOKEN": "x", "DASK_COILED__SERVER": f"http://{NOWHERE}"}),
        ("gateway", {"DASK_GATEWAY__ADDRESS": f"http://{NOWHERE}"}),
        ("kubernetes", {"KUBECONFIG": "kubeconfig"}),
    ],
    indirect=["each"],
)
def test_clusters_that_do_not_answer(each: Any, settings: dict[str, str]) -> None:
    (each.folder / "kubeconfig").write_text(KUBECONFIG)
    done = each.run(*RUN, "--again", "-s", f"{each.name}:mr", status=5, settings=settings)
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: {each.name}:mr: "), line
    assert "install" not in line


KUBECONFIG = f"""
apiVersion: v1
kind: Config
current-context: here
clusters: [{{name: here, cluster: {{server: "http://{NOWHERE}"}}}}]
users: [{{name: me, user: {{token: x}}}}]
contexts: [{{name: here, context: {{cluster: here, user: me}}}}]
"""

NOTEBOOK = """
import nbclient
import nbformat

cells = [nbformat.v4.new_code_cell(text) for text in (FIRST, "len(result.features)", EXPLORE, LINK)]
notebook = nbformat.v4.new_notebook(cells=cells)
nbclient.NotebookClient(notebook, timeout=200).execute()
bar, table = (each.data["text/html"] for each in notebook.cells[0].outputs)
print(bar.count("<progress"), table.count("</tr>"))
print(notebook.cells[1].outputs[0].data["text/plain"])
print("<iframe" in notebook.cells[2].outputs[0].data["text/html"])
print(notebook.cells[3].outputs)
"""
DASHBOARD = """
import urllib.request
from distributed import LocalCluster
with LocalCluster(n_workers=1, host="127.0.0.1", dashboard_address="127.0.0.1:0") as cluster:
    with urllib.request.urlopen(cluster.dashboard_link) as page:
        assert b"Dask" in page.read()
"""


def test_the_five_lines_in_a_notebook(notebooks: Any) -> None:
    *first, explore = readme_lines()
    texts = {"FIRST": "\n".join(first), "EXPLORE": explore, "LINK": DASHBOARD}
    program = "".join(f"{name} = {text!r}\n" for name, text in texts.items()) + NOTEBOOK
    file = notebooks.folder / "notebook.py"
    file.write_text(program)
    done = notebooks.run(notebooks.bin / "python", file.name)
    assert done.stdout == f"1 6\n{N_OBJECTS}\nTrue\n[]\n"


def test_a_model_of_onnx(onnx: Any) -> None:
    from onnx import helper, numpy_helper, save

    rows = np.array([[[10, 20, 30, 40, 0.9, 1]]], dtype=np.float32)
    output = helper.make_tensor_value_info("rows", 1, rows.shape)
    graph = helper.make_graph(
        [helper.make_node("Identity", ["values"], ["rows"])],
        "detector",
        [helper.make_tensor_value_info("image", 1, [1, 3, "h", "w"])],
        [output],
        [numpy_helper.from_array(rows, "values")],
    )
    opset = [helper.make_opsetid("", 17)]
    save(helper.make_model(graph, opset_imports=opset, ir_version=8), onnx.folder / "model.onnx")
    words = ("run", "scene.tif", "-m", "model.onnx", *TILES, "--workers", 1, "-o", "onnx")
    done = onnx.run(*words, "--json")
    assert json.loads(done.stdout)["n_merged"] == N_TILES
    assert done.stderr == ""


def sicd(folder: Path) -> Path:
    """A tile of a radar image, which is SICD itself."""
    places = zip(("1:FRFC", "2:FRLC", "3:LRLC", "4:LRFC"), [(48, 12)] * 4, strict=True)
    corners = "".join(
        f'<ICP index="{name}"><Lat>{lat}</Lat><Lon>{lon}</Lon></ICP>' for name, (lat, lon) in places
    )
    xml = (
        sicd_xml("RGZERO")
        .replace("<ImageData>", "<ImageData><PixelType>RE32F_IM32F</PixelType>")
        .replace("</GeoData>", f"<ImageCorners>{corners}</ImageCorners></GeoData>")
    )
    width, height = SAR_SIZE
    info = replace(
        image("float32", 2), crs=None, transform=None, driver="NITF",
        height=height, width=width, sar=xml, document=zlib.compress(xml.encode()),
    )  # fmt: skip
    window = Window(row=200, col=100, height=300, width=300)
    made = encoder("NITF", "NONE")
    assert isinstance(made, PlacedTileEncoder)
    around = np.array([(12.0, 48.0), (12.1, 48.0), (12.1, 47.9), (12.0, 47.9)])
    file = folder / "sicd.ntf"
    file.write_bytes(
        made.encode_placed(noise("float32", (2, 300, 300)), info, window, corners=around)
    )
    return file


def test_radar_tiles(sar: Any) -> None:
    file = sicd(sar.folder)
    with serving(sar, "flood") as url:
        words = ("run", file, "-m", url, "--tile-size", 256, "--tile-format", "NITF")
        done = sar.run(*words, "--merge", "none", "--workers", 1, "-o", "sar", "--json")
    report = json.loads(done.stdout)
    assert (report["status"], report["n_tiles"], report["n_merged"]) == ("SUCCESS", 4, 400)
    assert done.stderr == ""


STAC = """
import datetime
import daskmr
import pystac

if __name__ == "__main__":
    item = pystac.Item("scene", None, None, datetime.datetime(2024, 5, 6), {})
    item.add_asset("image", pystac.Asset("scene.tif", media_type="image/tiff", roles=["data"]))
    result = daskmr.run(item, "blobs", tile_size=512, overlap=64, workers=1)
    print(result.report.status, len(result.features))
"""


def test_items_of_stac(stac: Any) -> None:
    assert stac.python(STAC) == f"SUCCESS {N_OBJECTS}\n"
