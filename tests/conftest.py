"""Property tests take the examples that their text determines, so that a run that fails fails again; soaks take others.
None is judged by how long it took, which says more of the machine. Value classes of the hot path are frozen here.
"""

import os

os.environ["EXCHANGE_FROZEN_VALUES"] = "1"  # before anything of ours is imported, and for every process that is started

from hypothesis import HealthCheck, settings

from tests.support.scale import SCALE

settings.register_profile(
    "here", deadline=None, derandomize=SCALE == 1, suppress_health_check=[HealthCheck.too_slow], database=None
)
settings.load_profile("here")
