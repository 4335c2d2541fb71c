"""Progress outside of notebooks, and what it says."""

from daskmr.core.progress import Progress
from daskmr.views.notebook import html, live


def test_without_a_notebook_nothing_is_shown() -> None:
    live()(Progress(n_tiles=4, n_done=1, megapixels=1.0, seconds=1.0))


def test_a_bar_tells_where_the_dashboard_is() -> None:
    progress = Progress(n_tiles=4, n_done=1, megapixels=8.0, seconds=2.0, dashboard='http://d"<x')
    page = html(progress)
    assert '<progress max="4" value="1"' in page
    assert "1 of 4 tiles, 4.0 Mpx/s, 6.0 s left" in page
    assert '<a href="http://d&quot;&lt;x"' in page
    assert "<a" not in html(Progress(n_tiles=4, n_done=0, megapixels=0.0, seconds=2.0))
