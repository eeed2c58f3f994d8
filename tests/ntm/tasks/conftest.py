"""Settings for the tests of the tasks."""

from hypothesis import settings

# A machine that pauses for a moment has made no mistake
settings.register_profile("tasks", deadline=None)
settings.load_profile("tasks")
