"""What every sensor model promises, as tests to inherit."""

import pickle

import numpy as np

from daskmr.core.imagery import ImageInfo
from daskmr.geolocate.base import Points, SensorModel


class SensorModelContract:
    """Inherit, name the class ``Test...``, and say what to make and from which image."""

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

    def test_the_ground_is_in_degrees_and_metres(self) -> None:
        world = self.make().to_world(self.points())
        assert world.shape == (len(self.points()), 3)
        assert world.dtype == np.float64
        assert np.isfinite(world).all()
        assert (np.abs(world[:, :2]) <= [180.0, 90.0]).all()

    def test_no_points_give_no_points(self) -> None:
        model = self.make()
        assert model.to_world(np.empty((0, 2))).shape == (0, 3)
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
        world = model.to_world(pixels)
        kept = world.copy()
        model.to_image(world)
        np.testing.assert_array_equal(pixels, self.points())
        np.testing.assert_array_equal(world, kept)

    def test_a_point_that_is_none_has_no_place(self) -> None:
        model = self.make()
        lost = np.array([[np.nan, 1.0], [1.0, np.inf]])
        assert np.isnan(model.to_world(lost)).all()
        assert np.isnan(model.to_image(lost)).all()

    def test_it_is_plain_data(self) -> None:
        model = self.make()
        again = pickle.loads(pickle.dumps(model))  # noqa: S301
        assert again == model
        np.testing.assert_array_equal(again.to_world(self.points()), model.to_world(self.points()))

    def test_the_image_gives_the_model(self) -> None:
        assert type(self.make()).from_image(self.info()) == self.make()
