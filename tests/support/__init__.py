"""What tests share. The asserts in here say as much as a test's own."""

import pytest

pytest.register_assert_rewrite(*(f"{__name__}.{name}" for name in ("killed", "reports", "stacks")))
