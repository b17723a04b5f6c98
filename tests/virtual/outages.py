"""When something that should be there was not."""


class Outages:
    """Intervals without it; one that has not ended yet lasts until now."""

    def __init__(self, since: float) -> None:
        self.past: list[tuple[float, float]] = []
        self._since: float | None = since

    def note(self, there: bool, now: float) -> None:
        """Note whether it is there now."""
        if not there and self._since is None:
            self._since = now
        elif there and self._since is not None:
            self.past.append((self._since, now))
            self._since = None

    def at(self, moment: float) -> bool:
        """Tell whether it was not there at a moment."""
        began = self._since is not None and self._since <= moment
        return began or any(begin <= moment <= end for begin, end in self.past)

    def seconds(self, since: float, until: float, now: float) -> float:
        """Return for how many seconds between two moments it was not there."""
        intervals = [*self.past, *([(self._since, now)] if self._since is not None else [])]
        return sum(max(0.0, min(until, end) - max(since, start)) for start, end in intervals)
