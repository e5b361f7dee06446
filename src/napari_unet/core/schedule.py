"""When training ends, and how its learning rate falls until then."""

from math import cos, pi

LONGEST_SECONDS = 30 * 60.0
"""How long training goes on at most when no end is given."""
SETTLED_SECONDS = 60.0
SETTLED_GAIN = 0.003
"""The score has settled when this long, or half of all the time so far, brought no more than this gain."""
FINISH_SHARE = 0.3
"""Time that the learning rate takes to fall after the score has settled, as a share of the time before."""
WARM_UP_STEPS = 5


class Schedule:
    """The cosine decay towards an end that is known from the start, or found when the score has settled.

    Parameters
    ----------
    end : float, optional
        Seconds or steps; whatever unit the other calls use as ``now``.

    Examples
    --------
    >>> schedule = Schedule(end=100)
    >>> schedule.rate(now=0, steps=100), schedule.rate(now=50, steps=100), schedule.is_over(now=100)
    (1.0, 0.5, True)
    >>> schedule = Schedule()
    >>> for second in range(0, 200, 10):
    ...     schedule.record(second, 0.9)
    >>> schedule.end
    78.0
    """

    def __init__(self, end: float | None = None) -> None:
        self.end = end
        self._is_given = end is not None
        self._decay_start = 0.0
        self._start, self._gained_at, self._best = 0.0, 0.0, 0.0

    def restart(self, now: float) -> None:
        """Judge scores anew from this second on: those before it do not compare. A given end stays."""
        if not self._is_given:
            self.end = None
            self._start, self._gained_at, self._best = now, now, 0.0

    def rate(self, now: float, steps: int) -> float:
        """Return the factor on the learning rate."""
        warm = min(1.0, (steps + 1) / WARM_UP_STEPS)
        if self.end is None:
            return warm
        share = (now - self._decay_start) / (self.end - self._decay_start)
        return warm * (1 + cos(pi * min(1.0, share))) / 2

    def progress(self, now: float) -> float | None:
        """Return the share of the way to the end, None while the end is open."""
        return None if self.end is None else min(1.0, now / self.end)

    def is_over(self, now: float) -> bool:
        """Tell whether the end is reached."""
        return self.end is not None and now >= self.end

    def record(self, now: float, score: float | None) -> None:
        """Learn of a validation score (0 to 1) at some second; a settled one brings the end in sight.

        None says that it could not be measured, which settles nothing.
        """
        if score is not None and score > self._best + SETTLED_GAIN:
            self._gained_at, self._best = now, score
        passed = now - self._start
        settled = score is not None and now - self._gained_at >= max(SETTLED_SECONDS, passed / 2)
        late = passed >= LONGEST_SECONDS / (1 + FINISH_SHARE)
        if self.end is None and (settled or late):
            self._decay_start, self.end = now, now + passed * FINISH_SHARE
