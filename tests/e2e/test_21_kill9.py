"""kill -9 at random moments: ten rounds of rig/kill9.py, which takes more from its command line."""
import os
import random

from rig import kill9


def test_ten_rounds(rig, tmp_path_factory):
    """Every body is right before and after each kill; no file has a name that it does not deserve."""
    seed = int(os.environ.get("KILL9_SEED", random.SystemRandom().randrange(1 << 32)))
    got = kill9.rounds(rig, tmp_path_factory.mktemp("kill9"), 10, seed)
    assert got["round"] == 10, got
    assert got["blob"] + got["range"] > 20 and got["manifest"] > 5 and got["cut"] > 10, got
