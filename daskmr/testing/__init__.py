"""What tests of daskmr, and of plug-ins for it, start from: fakes, scenes, contract suites."""
