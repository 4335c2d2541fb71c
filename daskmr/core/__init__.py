"""Values and arithmetic of the domain: no files, no network, no Dask, no clock."""
