"""Share of the time of training that something else may take."""


class TimeBudget:
    """Allow an activity a share of the time: after each piece of work it waits until that has been earned.

    Parameters
    ----------
    share : float
        Above 0, at most 1.
    longest_wait : float
        Seconds after which it is allowed again whatever it has taken: what is done at once because somebody
        waits for it must not hold up everything else for minutes.

    Examples
    --------
    >>> budget = TimeBudget(0.1)
    >>> budget.allows(now=0.0)
    True
    >>> budget.spend(start=0.0, seconds=0.5)
    >>> budget.allows(now=4.9), budget.allows(now=5.1)
    (False, True)
    """

    def __init__(self, share: float, longest_wait: float = 120.0) -> None:
        self._share, self._longest_wait = share, longest_wait
        self._earned_at = 0.0

    def allows(self, now: float) -> bool:
        """Tell whether everything that was spent has been earned by now."""
        return now >= self._earned_at

    def spend(self, start: float, seconds: float) -> None:
        """Note a piece of work that began at some second and took so long."""
        earned_at = max(self._earned_at, start) + seconds / self._share
        self._earned_at = min(earned_at, start + seconds + self._longest_wait)
