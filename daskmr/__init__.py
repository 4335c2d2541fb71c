"""daskmr: computer-vision models over very large satellite images, on Dask."""
