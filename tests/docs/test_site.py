"""The documentation: builds without a warning, and its pages load nothing from elsewhere."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
LOADS = re.compile(
    r"<(?:script|img|iframe|source|embed)\b[^>]*\bsrc\s*=\s*[\"'](?:https?:)?//[^\"']*"
    r"|<link\b(?![^>]*rel=[\"'](?:canonical|index|search|next|prev)[\"'])[^>]*"
    r"href\s*=\s*[\"'](?:https?:)?//[^\"']*"
)
STYLES = re.compile(r"(?:url\(|@import)\s*[\"']?(?:https?:)?//[^\"')]*")


@pytest.mark.deploy
def test_the_site_builds_without_warnings_and_loads_nothing(tmp_path: Path) -> None:
    pytest.importorskip("sphinx")
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html",
         "-d", str(tmp_path / "doctrees"), str(DOCS), str(tmp_path / "html")],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    pages = sorted((tmp_path / "html").rglob("*.html"))
    assert {"index.html", "quickstart.html", "howto.html"} <= {page.name for page in pages}
    for page in pages:
        assert not LOADS.findall(page.read_text(encoding="utf-8")), page
    for style in (tmp_path / "html").rglob("*.css"):
        assert not STYLES.findall(style.read_text(encoding="utf-8")), style
    text = (tmp_path / "html" / "howto.html").read_text(encoding="utf-8")
    assert "class WebpEncoder" in re.sub(r"<[^>]+>", "", text)


def test_links_between_pages_lead_somewhere() -> None:
    for page in DOCS.rglob("*.md"):
        if "_build" in page.parts:
            continue
        for target in re.findall(r"\]\(((?!https?:)[^)#\s]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
