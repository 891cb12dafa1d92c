"""Test that no call is made while none can succeed, and that the queues concerned pause."""

import pytest

from shared.errors import IntegrationError, Misconfigured, Postponed, RateLimited, Unavailable
from shared.zoho.call.breakers import Breakers
from shared.zoho.quota.call import Call
from shared.zoho.quota.priority import Priority
from shared.zoho.waits import FIRST_PAUSE_S

LICENCE_OF_ALL = "disabled_user"


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def seen() -> list[tuple[str, str, str, bool]]:
    return []


@pytest.fixture
def breakers(clock: Clock, seen: list[tuple[str, str, str, bool]]) -> Breakers:
    return Breakers(clock=clock, observe=lambda *what: seen.append(what))


def misconfigured(cause: str = LICENCE_OF_ALL, product: str = "billing") -> Misconfigured:
    return Misconfigured("refused", product=product, cause=cause)


def limited(limit: str, wait_s: float = 600.0) -> RateLimited:
    return RateLimited("refused", retry_after_s=wait_s, product="billing", limit=limit)


def call(
    operation: str = "any",
    priority: Priority = Priority.COMMANDS,
    *,
    product: str = "billing",
    org: str = "default",
) -> Call:
    return Call(org, product, operation, priority)


def fail(breakers: Breakers, error: IntegrationError, only: Priority | None = None) -> None:
    """`only`: the priority that the ledger refused."""
    failed = call("create_customer", only or Priority.COMMANDS)
    breakers.failed(failed, error, only_its_priority=only is not None)


def is_refused(breakers: Breakers, product: str = "billing", operation: str = "any") -> bool:
    try:
        breakers.check(call(operation, product=product))
    except IntegrationError:
        return True
    return False


def test_a_misconfiguration_stops_the_product_and_no_other(breakers: Breakers) -> None:
    fail(breakers, misconfigured())
    assert is_refused(breakers)
    assert not is_refused(breakers, "desk")
    breakers.check(call(org="another"))


def test_bad_credentials_stop_every_product(breakers: Breakers) -> None:
    fail(breakers, misconfigured("refresh_token_dead", "accounts"))
    assert is_refused(breakers)
    assert is_refused(breakers, "desk")


def test_a_missing_scope_stops_its_operation_only(breakers: Breakers) -> None:
    fail(breakers, misconfigured("scope"))
    assert is_refused(breakers, operation="create_customer")
    assert not is_refused(breakers, operation="get_plan")


@pytest.mark.parametrize("cause", ["scope", "permission", "licence"])
def test_what_one_operation_lacks_holds_up_no_queue(
    breakers: Breakers, seen: list[tuple[str, str, str, bool]], cause: str
) -> None:
    fail(breakers, misconfigured(cause))
    assert is_refused(breakers, operation="create_customer")
    assert breakers.gate("default", "billing", priority=Priority.URGENT).is_open()
    assert seen == [("default", "billing", cause, True)]  # the metric shows it all the same


def test_what_all_operations_lack_holds_up_the_queue_beside_it(breakers: Breakers) -> None:
    fail(breakers, misconfigured("scope"))
    fail(breakers, misconfigured("organization"))
    assert not breakers.gate("default", "billing", priority=Priority.URGENT).is_open()


def test_a_pause_over_lets_one_through_to_see(breakers: Breakers, clock: Clock) -> None:
    fail(breakers, misconfigured())
    clock.now += 16
    assert breakers.check(call())
    assert is_refused(breakers)

    breakers.succeeded(call())

    assert not breakers.check(call())


def test_a_trial_that_fails_makes_the_next_pause_longer(breakers: Breakers, clock: Clock) -> None:
    fail(breakers, misconfigured())
    clock.now += 16
    breakers.check(call())
    fail(breakers, misconfigured())
    clock.now += 16
    assert is_refused(breakers)
    clock.now += 15
    assert not is_refused(breakers)


def test_calls_that_fail_together_are_one_failure(breakers: Breakers, clock: Clock) -> None:
    for _ in range(8):
        fail(breakers, misconfigured())
    clock.now += 16
    assert not is_refused(breakers)


def test_zohos_word_on_concurrency_holds_all_priorities_for_a_moment(
    breakers: Breakers, clock: Clock
) -> None:
    fail(breakers, limited("concurrency", 0.05), only=Priority.READS)  # the ledger's count
    assert not is_refused(breakers)
    fail(breakers, limited("concurrency", 1.0))
    assert is_refused(breakers)
    clock.now += 1.1
    assert not is_refused(breakers)


def test_a_priority_ahead_of_its_pace_pauses_alone(breakers: Breakers) -> None:
    fail(breakers, limited("pace"), only=Priority.BACKFILL)
    assert not breakers.gate("default", "billing", priority=Priority.BACKFILL).is_open()
    assert breakers.gate("default", "billing", priority=Priority.COMMANDS).is_open()


def test_a_cause_is_told_open_while_anything_is_held_by_it(
    breakers: Breakers, seen: list[tuple[str, str, str, bool]]
) -> None:
    fail(breakers, limited("minute"), only=Priority.BACKFILL)
    fail(breakers, limited("minute"), only=Priority.READS)
    breakers.succeeded(call(priority=Priority.READS))
    assert seen[-1] == ("default", "billing", "minute", True)
    breakers.succeeded(call(priority=Priority.BACKFILL))
    assert seen[-1] == ("default", "billing", "minute", False)


def test_a_trial_that_says_nothing_leaves_the_next_one_to_see(
    breakers: Breakers, clock: Clock
) -> None:
    fail(breakers, misconfigured())
    clock.now += 16
    breakers.check(call())
    breakers.undecided(call())
    assert breakers.check(call())


def test_a_trial_that_lacks_a_right_of_its_own_ends_what_held_back_all(
    breakers: Breakers, clock: Clock
) -> None:
    fail(breakers, misconfigured())
    clock.now += 16
    breakers.check(call())

    breakers.failed(call("list_plans"), misconfigured("permission"))

    assert not is_refused(breakers)
    assert is_refused(breakers, operation="list_plans")


def test_a_few_lost_answers_are_no_outage(breakers: Breakers) -> None:
    for _ in range(4):
        breakers.lost(call("create_customer"))
    assert not is_refused(breakers)
    breakers.succeeded(call("get_plan", Priority.READS))
    for _ in range(4):
        breakers.lost(call("create_customer"))
    assert not is_refused(breakers)


def test_many_lost_answers_in_a_row_are_one(breakers: Breakers) -> None:
    for _ in range(5):
        fail(breakers, Unavailable("no answer", code="zoho_unavailable"))
    assert is_refused(breakers)


def test_an_outage_costs_attempts_only_those_who_met_it(breakers: Breakers) -> None:
    for _ in range(5):
        fail(breakers, Unavailable("no answer", code="zoho_unavailable"))
    with pytest.raises(Postponed) as caught:
        breakers.check(call())
    assert caught.value.code == "zoho_unavailable"
    assert caught.value.retry_after_s == pytest.approx(15.0)


def test_zohos_limit_stops_all_priorities_the_ledgers_only_one(breakers: Breakers) -> None:
    fail(breakers, limited("day"), only=Priority.BACKFILL)
    assert not is_refused(breakers)  # the ledger itself will say no where it must
    assert not breakers.gate("default", "billing", priority=Priority.BACKFILL).is_open()
    assert breakers.gate("default", "billing", priority=Priority.URGENT).is_open()

    fail(breakers, limited("day"))

    assert is_refused(breakers)
    assert not breakers.gate("default", "billing", priority=Priority.URGENT).is_open()


def test_a_limit_ends_when_zoho_said_it_would(breakers: Breakers, clock: Clock) -> None:
    fail(breakers, limited("minute", 60.0))
    clock.now += 59
    assert is_refused(breakers)
    clock.now += 2
    assert not is_refused(breakers)


def test_opening_and_closing_are_seen(
    breakers: Breakers, seen: list[tuple[str, str, str, bool]]
) -> None:
    fail(breakers, misconfigured())
    breakers.succeeded(call())
    assert seen == [
        ("default", "billing", LICENCE_OF_ALL, True),
        ("default", "billing", LICENCE_OF_ALL, False),
    ]


def test_a_gate_is_closed_while_a_breaker_is_open() -> None:
    breakers = Breakers()
    gate = breakers.gate("default", "billing", "books")
    assert gate.is_open()

    fail(breakers, misconfigured())
    assert not gate.is_open()

    breakers.succeeded(call())
    assert gate.is_open()


def test_a_gate_opens_by_itself_for_the_trial(breakers: Breakers, clock: Clock) -> None:
    gate = breakers.gate("default", "billing")
    fail(breakers, misconfigured())

    clock.now += FIRST_PAUSE_S

    assert gate.is_open()
    assert breakers.check(call())
    assert not gate.is_open()  # nobody else while it is under way
