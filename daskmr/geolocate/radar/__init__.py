"""SAR geometry: `metadata_xml` is parsed, `pixel_grids` give ranges, `projection` maps pixels."""
