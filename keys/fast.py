"""The one switch of the fast ways.

Where something is done in two ways, ``X.py`` is the law, and ``X_fast.py`` beside it may only say yes, and never
where the law says no: whatever it does not plainly admit goes to the law, which words every fault. With
``EXCHANGE_PLAIN=1`` the law alone is asked, which takes longer and comes to the same.
"""

from __future__ import annotations

import os

FAST = os.environ.get("EXCHANGE_PLAIN") != "1"
