"""What the tests of the Lava backends share."""

from __future__ import annotations

from tests.helpers.warm_lava import lava_server, warm_lava

__all__ = ["lava_server", "warm_lava"]
