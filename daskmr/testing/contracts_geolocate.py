"""Contract of sensor models: tests to inherit; and metadata of scenes."""

import pickle
from typing import ClassVar, NamedTuple, Self

import numpy as np
import pyproj

from daskmr.core.imagery import ImageInfo, Rpcs
from daskmr.geolocate.base import Points, SensorModel

SCENE_RPCS = Rpcs(
    line_off=2606.0,
    samp_off=4409.0,
    lat_off=24.9697,
    long_off=121.5875,
    height_off=377.0,
    line_scale=2606.0,
    samp_scale=4410.0,
    lat_scale=0.0593,
    long_scale=0.1008,
    height_scale=500.0,
    line_num=(
        *(-1.219784e-2, -1.779120e-1, -1.197441, -1.962294e-2, -2.400754e-3, -1.266875e-4),
        *(-2.864113e-4, -9.364538e-4, 9.023196e-3, -6.372315e-6, -3.353148e-6, -9.192860e-6),
        *(1.114250e-6, -9.605230e-6, -4.486697e-5, -2.875052e-4, -6.413221e-5, -1.735976e-6),
        *(-2.999621e-8, -1.049317e-6),
    ),
    line_den=(
        *(1.0, -5.210514e-3, -4.132499e-3, -6.048495e-4, -5.553299e-5, -3.766012e-6),
        *(-8.264991e-6, 2.892116e-5, -1.516595e-4, 5.320691e-5, -6.859532e-6, -1.898968e-6),
        *(-2.098215e-4, -5.094778e-7, -3.142094e-5, -4.513800e-4, -2.112928e-7, -5.952780e-7),
        *(-2.304619e-5, -5.413752e-8),
    ),
    samp_num=(
        *(-6.780123e-3, 1.024478, 2.011171e-5, -2.239644e-2, -1.306157e-3, 1.651806e-4),
        *(6.467390e-5, 5.991485e-3, -1.995634e-4, -3.633161e-6, -1.540867e-6, 1.551750e-5),
        *(-6.259453e-5, -9.389538e-6, -4.054396e-5, -6.342832e-5, 2.809450e-8, 2.041979e-6),
        *(-3.292629e-6, 2.079533e-7),
    ),
    samp_den=(
        *(1.0, 8.111176e-4, 1.340323e-3, -3.211588e-4, 2.661355e-5, -1.689184e-6),
        *(2.372103e-6, 2.060620e-6, 5.500269e-5, -9.237594e-6, 1.666669e-7, 7.025150e-8),
        *(2.152491e-6, 4.632533e-8, 1.002425e-6, 1.169637e-6, -1.738953e-8, 0.0),
        *(2.386543e-7, 0.0),
    ),
)
"""Of a real image of 8819 x 5212 pixels over Taipei, 9 and 12 km wide."""


class SensorModelContract:
    """Tests of one model: inherit, name the class ``Test...``, define `make` and `info`."""

    heights: ClassVar[tuple[float, ...]] = (-450.0, 0.0, 1234.5, 8850.0)
    """Metres at which rays are cut, besides the model's own."""

    def make(self) -> SensorModel:
        """Return the model under test."""
        raise NotImplementedError

    def info(self) -> ImageInfo:
        """Return the header of the image that the model belongs to."""
        raise NotImplementedError

    def points(self) -> Points:
        """Return pixels all over the image, its corners and a little beyond; shape (N, 2)."""
        info = self.info()
        x = np.linspace(-0.1, 1.1, 13) * info.width
        y = np.linspace(-0.1, 1.1, 13) * info.height
        corners = [[0, 0], [info.width, 0], [info.width, info.height], [0, info.height]]
        grid = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
        return np.concatenate([grid, np.array(corners, dtype=np.float64)])

    def test_pixels_come_back_from_the_ground(self) -> None:
        model, pixels = self.make(), self.points()
        np.testing.assert_allclose(model.to_image(model.to_world(pixels)), pixels, atol=1e-6)

    def test_pixels_come_back_from_any_height(self) -> None:
        model, pixels = self.make(), self.points()
        for height in self.heights:
            level = np.full(len(pixels), height)
            world = model.to_world(pixels, level)
            np.testing.assert_array_equal(world[:, 2], level)
            np.testing.assert_allclose(model.to_image(world), pixels, atol=1e-6)

    def test_a_point_lies_where_its_own_height_puts_it(self) -> None:
        model, pixels = self.make(), self.points()
        heights = np.resize(self.heights, len(pixels))
        world = model.to_world(pixels, heights)
        for height in self.heights:
            level = model.to_world(pixels, np.full(len(pixels), height))
            np.testing.assert_array_equal(world[heights == height], level[heights == height])
        assert np.isnan(model.to_world(pixels, np.full(len(pixels), np.nan))).all()

    def test_the_ground_is_in_degrees_and_metres(self) -> None:
        world = self.make().to_world(self.points())
        assert world.shape == (len(self.points()), 3)
        assert world.dtype == np.float64
        assert np.isfinite(world).all()
        assert (np.abs(world[:, :2]) <= [180.0, 90.0]).all()

    def test_no_points_give_no_points(self) -> None:
        model = self.make()
        assert model.to_world(np.empty((0, 2))).shape == (0, 3)
        assert model.to_world(np.empty((0, 2)), np.empty(0)).shape == (0, 3)
        assert model.to_image(np.empty((0, 2))).shape == (0, 2)
        assert model.to_image(np.empty((0, 3))).shape == (0, 2)

    def test_all_at_once_equals_one_by_one(self) -> None:
        model, pixels = self.make(), self.points()
        world = model.to_world(pixels)
        np.testing.assert_array_equal(world, [model.to_world(p[None])[0] for p in pixels])
        back = [model.to_image(w[None])[0] for w in world]
        np.testing.assert_allclose(model.to_image(world), back, rtol=0, atol=1e-9)

    def test_the_points_that_go_in_are_not_changed(self) -> None:
        model, pixels = self.make(), self.points()
        heights = np.resize(self.heights, len(pixels))
        world = model.to_world(pixels, heights)
        kept = world.copy()
        model.to_image(world)
        np.testing.assert_array_equal(pixels, self.points())
        np.testing.assert_array_equal(heights, np.resize(self.heights, len(pixels)))
        np.testing.assert_array_equal(world, kept)

    def test_a_point_that_is_none_has_no_place(self) -> None:
        model = self.make()
        lost = np.array([[np.nan, 1.0], [1.0, np.inf]])
        assert np.isnan(model.to_world(lost)).all()
        assert np.isnan(model.to_world(lost, np.zeros(2))).all()
        assert np.isnan(model.to_image(lost)).all()

    def test_it_is_plain_data(self) -> None:
        model = self.make()
        again = pickle.loads(pickle.dumps(model))  # noqa: S301
        assert again == model
        assert hash(again) == hash(model)
        np.testing.assert_array_equal(again.to_world(self.points()), model.to_world(self.points()))

    def test_the_image_gives_the_model(self) -> None:
        assert type(self.make()).from_image(self.info()) == self.make()


SAR_SIZE = (1200, 800)
"""Width and height of the radar scenes that are made here, before anything was cut out."""
SAR_CENTRE = (12.0, 48.0, 500.0)
"""lon, lat, height of their middle."""
SAR_GRIDS = ("PLANE", "XRGYCR", "XCTYAT", "RGZERO", "PFA", "RGAZCOMP")
"""Kinds of `sicd_xml`; the last two are both RGAZIM."""


def sicd_xml(
    kind: str,
    *,
    left: bool = False,
    first: tuple[int, int] = (0, 0),
    size: tuple[int, int] = SAR_SIZE,
) -> str:
    """Return the SICD XML of a satellite 550 km high that looks down at 40 degrees.

    Parameters
    ----------
    kind
        One of `SAR_GRIDS`.
    left
        Whether it looks to its left.
    first
        Column and row at which the image was cut out.
    size
        Width and height of the image.
    """
    scene = _Scene.of(left=left)
    kinds = {"PFA": "RGAZIM", "RGAZCOMP": "RGAZIM"}
    algorithm = {"RGZERO": "RMA", "XRGYCR": "RMA", "PFA": "PFA", "RGAZCOMP": "RGAZCOMP"}
    row, col = scene.slant
    axes = (("Row", row, 0.8), ("Col", col, 0.6))
    sides = "".join(
        f"<{name}><UVectECF>{_xyz(axis)}</UVectECF><SS>{spacing}</SS></{name}>"
        for name, axis, spacing in axes
    )
    formation = {
        "RGZERO": f"<RMA><INCA>{_poly('TimeCAPoly', [[scene.time], [1 / 7000]])}"
        f"<R_CA_SCP>{scene.range_m!r}</R_CA_SCP>"
        f"{_poly('DRateSFPoly', [[0.91, 1e-9], [-2e-8, 0.0]])}</INCA></RMA>",
        "PFA": f"<PFA>{_poly('PolarAngPoly', [[-0.002], [0.0101], [1e-6]])}"
        f"{_poly('SpatialFreqSFPoly', [[1.0], [0.001], [-0.2]])}</PFA>",
        "RGAZCOMP": f"<RgAzComp><AzSF>{(1 if left else -1) / scene.range_m!r}</AzSF></RgAzComp>",
    }
    time = [[scene.time]] if kind in {"PFA", "RGAZCOMP"} else [[scene.time, 1.3e-4], [2e-8, 0.0]]
    return (
        '<SICD xmlns="urn:SICD:1.3.0"><CollectionInfo><CoreName>Made &amp; seen</CoreName>'
        "<CollectType>MONOSTATIC</CollectType></CollectionInfo><ImageData>"
        f"<NumRows>{size[1]}</NumRows><NumCols>{size[0]}</NumCols>"
        f"<FirstRow>{first[1]}</FirstRow><FirstCol>{first[0]}</FirstCol>"
        f"<SCPPixel><Row>390</Row><Col>610</Col></SCPPixel></ImageData>"
        f"<GeoData><SCP><ECF>{_xyz(scene.centre)}</ECF></SCP></GeoData>"
        f"<Grid><Type>{kinds.get(kind, kind)}</Type>{_poly('TimeCOAPoly', time)}{sides}</Grid>"
        "<Timeline><CollectStart>2024-05-06T07:08:09.5Z</CollectStart></Timeline>"
        f"<Position>{scene.track_xml('ARPPoly')}</Position><ImageFormation>"
        f"<ImageFormAlgo>{algorithm.get(kind, 'OTHER')}</ImageFormAlgo></ImageFormation>"
        f"{formation.get(kind, '')}</SICD>"
    )


def sidd_xml(*, chip: str = "", size: tuple[int, int] = SAR_SIZE) -> str:
    """Return the SIDD XML of the ground below the same satellite.

    Parameters
    ----------
    chip
        A GeometricChip, as XML.
    size
        Width and height of the image.
    """
    scene = _Scene.of(left=False)
    row, col = scene.flat
    return (
        '<SIDD xmlns="urn:SIDD:3.0.0" xmlns:si="urn:SICommon:1.0"><Measurement><PlaneProjection>'
        f"<ReferencePoint><si:ECEF>{_xyz(scene.centre)}</si:ECEF><si:Point><si:Row>390.5</si:Row>"
        "<si:Col>610</si:Col></si:Point></ReferencePoint><SampleSpacing><si:Row>0.7</si:Row>"
        "<si:Col>0.9</si:Col></SampleSpacing>"
        f"{_poly('TimeCOAPoly', [[scene.time, 1.3e-4], [2e-8, 0.0]])}<ProductPlane><RowUnitVector>"
        f"{_xyz(row)}</RowUnitVector><ColUnitVector>{_xyz(col)}</ColUnitVector></ProductPlane>"
        f"</PlaneProjection><PixelFootprint><si:Row>{size[1]}</si:Row><si:Col>{size[0]}</si:Col>"
        f"</PixelFootprint>{scene.track_xml('ARPPoly')}</Measurement><ExploitationFeatures>"
        '<Collection identifier="Made &amp; seen"><Information><CollectionDateTime>'
        "2024-05-06T07:08:09.5Z</CollectionDateTime></Information></Collection>"
        f"</ExploitationFeatures><DownstreamReprocessing>{chip}</DownstreamReprocessing></SIDD>"
    )


class _Scene(NamedTuple):
    """A place on the ground and a satellite that passes it at right angles."""

    centre: Points
    track: Points
    """Coefficients of x, y, z over seconds; shape (3, 4)."""
    time: float
    """When it is nearest to the centre."""
    slant: tuple[Points, Points]
    """Away from the satellite, and along its flight."""
    flat: tuple[Points, Points]
    """Two axes on the ground that are not quite level."""

    @classmethod
    def of(cls, *, left: bool) -> Self:
        centre, (east, north, up) = _enu(*SAR_CENTRE)
        ahead = 0.2 * east + np.sqrt(0.96) * north
        right = np.cross(ahead, up)
        start = centre + 550e3 * up + (1 if left else -1) * 650e3 * right
        time = 1.5
        # Through `start` at that time, on a path that bends down and sways a little.
        bend = np.stack([start, 7500.0 * ahead, -4.0 * up, 0.001 * right], axis=1)
        shift = np.array(
            [
                [1, -time, time**2, -(time**3)],
                [0, 1, -2 * time, 3 * time**2],
                [0, 0, 1, -3 * time],
                [0, 0, 0, 1],
            ]
        )
        slant = (centre - start) / np.linalg.norm(centre - start)
        tilt = right + 0.01 * up
        tilt /= np.linalg.norm(tilt)
        return cls(centre, bend @ shift.T, time, (slant, ahead), (tilt, ahead))

    @property
    def range_m(self) -> float:
        powers = self.time ** np.arange(4)
        return float(np.linalg.norm(self.track @ powers - self.centre))

    def track_xml(self, name: str) -> str:
        axes = zip("XYZ", self.track.tolist(), strict=True)
        return (
            f"<{name}>{''.join(_poly(axis, [[c] for c in terms]) for axis, terms in axes)}</{name}>"
        )


def _poly(name: str, terms: list[list[float]]) -> str:
    coefficients = "".join(
        f'<Coef exponent1="{i}" exponent2="{j}">{term!r}</Coef>'
        for i, row in enumerate(terms)
        for j, term in enumerate(row)
    )
    return f"<{name}>{coefficients}</{name}>"


def _xyz(vector: Points) -> str:
    return "".join(f"<{n}>{v!r}</{n}>" for n, v in zip("XYZ", vector.tolist(), strict=True))


def rsm_fields(
    domain: str = "G", *, lon: float = 12.0, n: tuple[int, int] = (1, 1), shift: float = 0.0
) -> tuple[tuple[str, str], ...]:
    """Return a replacement sensor model of an image of 1000 x 800 pixels, some 1.5 km wide.

    Parameters
    ----------
    domain
        Of its ground coordinates: ``G``, ``H``, ``R``.
    lon
        Of the middle.
    n
        Rows and columns of sections.
    shift
        Pixels by which each section is off the one before it, in both directions.
    """
    identity, offsets, scales = _identity(domain, lon)
    terms = np.random.default_rng(5).uniform(-2e-4, 2e-4, (4, 2, 3, 3))  # of z, y, x
    terms[0, 0, 1, 0], terms[0, 1, 0, 0], terms[0, 0, 0, 1] = -1.0, -0.12, 0.05
    terms[2, 0, 0, 1], terms[2, 1, 0, 0], terms[2, 0, 1, 0] = 1.0, 0.08, 0.03
    terms[[1, 3], 0, 0, 0] = 1.0
    fields = [("RSMIDA", identity)]
    if n != (1, 1):
        rough = "".join(
            _rough(part, (offset, scale), (offsets, scales))
            for part, offset, scale in ((terms[0], 400.0, 400.0), (terms[2], 500.0, 500.0))
        )
        sizes = _field(800 / n[0]) + _field(1000 / n[1])
        count = f"{n[0]:03}{n[1]:03}{n[0] * n[1]:03}"
        fields.append(("RSMPIA", f"{'image':80}{'one':40}{rough}{count}{sizes}"))
    parts = "".join("221018" + "".join(map(_field, part.ravel())) for part in terms)
    for i in range(n[0] * n[1]):
        text = f"{'image':80}{'one':40}{i // n[1] + 1:03}{i % n[1] + 1:03}"
        values = [0.01, 0.01, 400.0 + shift * i, 500.0 + shift * i, *offsets, 400.0, 500.0, *scales]
        text += "".join(map(_field, values)) + parts
        fields.append((f"RSMPCA{f'_{i + 1}' if i else ''}", text))
    return tuple(fields)


def _identity(domain: str, lon: float) -> tuple[str, list[float], list[float]]:
    """Return RSMIDA, and the middle and half the size of the ground that the model is made for."""
    offsets, scales = [np.radians(lon), np.radians(48.0), 400.0], [1.8e-4, 1.2e-4, 600.0]
    frame = " " * 12 * 21
    if domain == "R":
        origin, axes = _enu(lon, 48.0, 350.0)
        frame = "".join(map(_field, [*origin, *axes.T.ravel()]))
        offsets, scales = [10.0, -20.0, 50.0], [770.0, 760.0, 600.0]
    reference = "".join(map(_field, [offsets[0], offsets[1], offsets[2] - 30.0]))
    text = f"{'image':80}{'one':40}{'':199}{domain}{frame}{'':504}{reference}"
    text += f"{800:08}{1000:08}{0:08}{799:08}{0:08}{999:08}"
    return text.ljust(1628), offsets, scales


def _rough(
    terms: Points, image: tuple[float, float], ground: tuple[list[float], list[float]]
) -> str:
    """Return ten coefficients of a plane through the middle of a polynomial."""
    slopes = [terms[0, 0, 1], terms[0, 1, 0], terms[1, 0, 0]]
    slopes = [image[1] * slope / scale for slope, scale in zip(slopes, ground[1], strict=True)]
    start = image[0] - sum(slope * offset for slope, offset in zip(slopes, ground[0], strict=True))
    return "".join(map(_field, [start, *slopes, *[0.0] * 6]))


def _field(value: float) -> str:
    return f"{value:+.14E}"


def _enu(lon: float, lat: float, height: float) -> tuple[Points, Points]:
    """Return a place from the Earth's centre, and east, north and up there as rows."""
    to_cartesian = pyproj.Transformer.from_crs("EPSG:4979", "EPSG:4978", always_xy=True)
    x, y = np.radians([lon, lat])
    up = np.array([np.cos(y) * np.cos(x), np.cos(y) * np.sin(x), np.sin(y)])
    east = np.array([-np.sin(x), np.cos(x), 0.0])
    axes = np.stack([east, np.cross(up, east), up])
    return np.array(to_cartesian.transform(lon, lat, height)), axes
