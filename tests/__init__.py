"""Every test, and what tests share (support/)."""

import pytest

pytest.register_assert_rewrite("tests.support")
