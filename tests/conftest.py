"""Property tests take the examples that their text determines, so that a run that fails fails again; soaks take others.
None is judged by how long it took, which says more of the machine.
"""

from hypothesis import HealthCheck, settings

from tests.scale import SCALE

settings.register_profile(
    "here", deadline=None, derandomize=SCALE == 1, suppress_health_check=[HealthCheck.too_slow], database=None
)
settings.load_profile("here")
