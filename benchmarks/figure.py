"""One measured figure."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A value and the budget that it is held against."""

    name: str
    value: float
    budget: str
    """``<= 1.05``, ``>= 0.85``, or empty when nothing is asked of it."""
    detail: str
    """What stands behind the value, in seconds or counts."""

    @property
    def holds(self) -> bool:
        """Whether the value is within its budget."""
        if not self.budget:
            return True
        sign, limit = self.budget.split()
        return self.value <= float(limit) if sign == "<=" else self.value >= float(limit)
