"""Provides fakes, synthetic scenes and contract suites for tests of daskmr and of its plug-ins.

`contracts_*` are suites to inherit, one for each kind of plug-in; `scene`, `images` and `numbered`
write images; `servers`, `faults`, `bad_answers`, `gateway` and `clusters` run real counterparts on
loopback; `simulation` runs jobs in virtual time. The suites need ``pip install daskmr[testing]``.
"""
