"""Hypothesis profiles; ``import _profiles`` in ``conftest.py`` loads one.

``HYPOTHESIS_PROFILE`` chooses it: ``default``, ``long`` (twenty times the
examples) or ``fixed``, which plays the same examples each time: what it finds
was put there by the change that is tested. Each prints, on a failure, the
``@reproduce_failure`` line that plays the same example again.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

_slow_is_fine = [HealthCheck.too_slow, HealthCheck.data_too_large]

settings.register_profile(
    "default", print_blob=True, deadline=None, suppress_health_check=_slow_is_fine
)
settings.register_profile("fixed", settings.get_profile("default"), derandomize=True)
settings.register_profile("long", settings.get_profile("default"), max_examples=2_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))
