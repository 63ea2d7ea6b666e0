"""What a test or a person turns on the emulator: switches, faults, requests, clock, log of calls.

For: plain methods on Control, JSON in and out; the same stands behind /control (routes.py).
Not for: anything Graph has. Every value is checked; a wrong one raises Wrong with what is right.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from emulator.checks import AMOUNT, Json, Wrong
from emulator.control_requests import put_requests
from emulator.faults import Faults, fault_from
from emulator.switches import Settings, Switches
from emulator.throttle import Throttle

if TYPE_CHECKING:
    from emulator.tenant import Tenant

LOG_LENGTH = 200_000


class Control:
    """Switches, faults, log and clock of one emulator."""

    def __init__(self, tenant: Tenant) -> None:
        self.tenant = tenant
        self.values = Settings()
        self.switches = Switches(self.values, tenant.rules)
        self.throttle: Throttle | None = None
        self.faults = Faults()
        self.first = self.switches.values()
        self._log: deque[Json] = deque(maxlen=LOG_LENGTH)

    # ---- switches --------------------------------------------------------------------------------

    def settings(self) -> Json:
        """All switches."""
        return self.switches.values()

    def patch_settings(self, changes: Any) -> Json:
        """Change some switches, or none when one is wrong. A throttle that is set starts anew."""
        given = changes.get("throttle") if isinstance(changes, dict) else None
        throttle = None if given is None else Throttle(given, self.tenant.now())
        self.switches.change(changes)
        if "throttle" in changes:
            self.throttle = throttle
        return self.settings()

    def reset_settings(self) -> Json:
        """Turn all switches back to where they were at the start."""
        return self.patch_settings(self.first)

    # ---- faults ----------------------------------------------------------------------------------

    def add_fault(self, given: Any) -> Json:
        """Let something go wrong, as faults.py describes it."""
        self.faults.waiting.append(fault_from(given))
        return {"faults": len(self.faults.waiting)}

    def clear_faults(self) -> None:
        self.faults.waiting.clear()

    # ---- clock -----------------------------------------------------------------------------------

    def advance(self, seconds: Any) -> None:
        """Move the tenant's clock on; the throttle refills, tokens do not age."""
        if not AMOUNT.test(seconds):
            raise Wrong(f"'advanceSeconds' must be {AMOUNT.words}")
        self.tenant.advance(seconds)

    # ---- log -------------------------------------------------------------------------------------

    def log(self) -> list[Json]:
        """Every Graph and token call, oldest first."""
        return list(self._log)

    def clear_log(self) -> None:
        self._log.clear()

    def note(self, entry: Json) -> None:
        self._log.append(entry)

    # ---- requests --------------------------------------------------------------------------------

    def requests(self) -> list[Json]:
        """All requests, and the state that each is in."""
        now = self.tenant.now()
        return [{"id": request.id, "state": request.state_at(now)} for request in self.tenant]

    def put_requests(self, given: Any) -> list[str]:
        """Add requests; one with a known id is replaced as a whole. Returns the ids."""
        return put_requests(self.tenant, given)

    def clear_requests(self) -> None:
        self.tenant.clear()
