from hypothesis import settings

# No deadline: an example may meet a cold torch or a busy machine. The same examples on every run.
settings.register_profile("repeatable", deadline=None, derandomize=True)
settings.load_profile("repeatable")
