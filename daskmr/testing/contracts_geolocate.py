"""What every sensor model promises, as tests to inherit, and the RPCs of a scene."""

import pickle
from typing import ClassVar

import numpy as np

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
    """Inherit, name the class ``Test...``, and say what to make and from which image."""

    heights: ClassVar[tuple[float, ...]] = (-450.0, 0.0, 1234.5, 8850.0)
    """Metres at which rays are cut, besides the model's own."""

    def make(self) -> SensorModel:
        """The model under test."""
        raise NotImplementedError

    def info(self) -> ImageInfo:
        """The image that it places on the ground."""
        raise NotImplementedError

    def points(self) -> Points:
        """Pixels all over the image, its corners and a little beyond; shape (N, 2)."""
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
