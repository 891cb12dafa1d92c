"""Set up every run of pytest: its servers, its recordings, its property tests."""

from hypothesis import HealthCheck, settings

# In every run the requests of our clients are recorded, and compared with Zoho's own files at its
# end. All events and replies, and all log lines, are kept, and searched for what must not be in
# them. The log lines come last.
pytest_plugins = (
    "tests.kit.loopback_only",
    "tests.kit.servers",
    "tests.contract.plugin",
    "tests.messages.plugin",
    "tests.logs.plugin",
)

# A machine that stands still for a moment is no finding.
settings.register_profile(
    "any machine", settings.default, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("any machine")
