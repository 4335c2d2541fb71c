"""Heights of the ground: `dem_tiles` lists files, `height_grid` reads them, `models` use them."""
