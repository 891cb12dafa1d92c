"""Test listing, showing and replaying dead letters with `zoho-relay`."""

import asyncio
import io

import asyncpg
import pytest
import typer

from services.operator.dead_letters import replay
from shared.errors import PermanentError
from shared.messaging.handling.settlement import Done, GiveUp
from shared.storage.migrations import migrate
from tests.operator.conftest import until

ADA = "ada@example.org"


class Plans:
    """A handler that refuses until the plan is made."""

    def __init__(self):
        self.made = False
        self.handled = []

    async def subscribe(self, message, work):
        if not self.made:
            raise PermanentError("there is no such plan", code="unknown_plan")
        self.handled.append(message.subscription_id)


@pytest.fixture
async def plans(desk):
    plans = Plans()
    async with desk.worker({"subscription.requested.v1": plans.subscribe}) as worker:
        await until(worker.ready)
        yield plans


async def subscribe(desk, number, user_id=None):
    await desk.send(
        "subscription.requested.v1",
        f"m{number}",
        user_id=user_id or f"u{number}",
        subscription_id=f"s{number}",
        plan_code="gold",
        email=ADA,
    )


async def dead(desk, *arguments, expected):
    """The dead letters as listed, once there are as many as expected."""
    listed = []

    async def enough():
        nonlocal listed
        listed = (await desk.ask("dead-letters", "list", "--each", "--json", *arguments)).rows
        return len(listed) == expected

    await until(enough)
    return listed


async def test_dead_letters_are_grouped_by_service_and_cause(desk, plans):
    await subscribe(desk, 1)
    await subscribe(desk, 2)
    await desk.send("subscription.requested.v1", "m3", user_id="u3")
    await desk.send("user.singed_up.v1", "m4", user_id="u4")
    await dead(desk, expected=4)

    output = await desk.ask("dead-letters", "list", "--json")

    assert {(row["service"], row["code"], row["messages"]) for row in output.rows} == {
        ("billing-worker", "unknown_plan", 2),
        ("billing-worker", "invalid_message", 1),
        ("billing-worker", "unknown_command", 1),
    }


async def test_looking_changes_nothing(desk, plans):
    await subscribe(desk, 1)
    await subscribe(desk, 2)

    before = await dead(desk, expected=2)

    assert await dead(desk, expected=2) == before
    assert [row["message_id"] for row in before] == ["m1", "m2"]


async def test_dead_letters_keep_their_order_however_often_they_are_looked_at(desk, plans):
    numbers = range(1, 13)
    for number in numbers:
        await subscribe(desk, number, user_id="u1")
    await dead(desk, expected=12)

    seen_again = await dead(desk, expected=12)

    assert [row["message_id"] for row in seen_again] == [f"m{number}" for number in numbers]
    plans.made = True
    await desk.ask("dead-letters", "replay", "--all")
    for _ in numbers:
        await desk.next_settled()
    assert plans.handled == [f"s{number}" for number in numbers]


async def test_what_a_replay_leaves_behind_keeps_its_order(desk, plans):
    for number in range(1, 13):
        await subscribe(desk, number)
    await dead(desk, expected=12)

    await desk.ask("dead-letters", "replay", "m5")
    await desk.next_settled()

    left = [row["message_id"] for row in await dead(desk, expected=12)]
    assert left == [f"m{number}" for number in range(1, 13)]


async def test_a_table_is_shown_without_json(desk, plans):
    await subscribe(desk, 1)
    await dead(desk, expected=1)

    output = await desk.ask("dead-letters", "list")

    assert output.out.split()[:3] == ["service", "code", "messages"]
    assert "there is no such plan" in output.out


async def test_a_dead_letter_is_shown_with_its_cause_and_its_body_stays_sealed(desk, plans):
    await subscribe(desk, 1)
    await dead(desk, expected=1)

    output = await desk.ask("dead-letters", "show", "m1")

    assert output.code == 0
    assert "there is no such plan" in output.out
    assert "subscription.requested.v1" in output.out
    assert ADA not in output.out


async def test_a_body_is_opened_when_asked_for(desk, plans):
    await subscribe(desk, 1)
    await dead(desk, expected=1)

    output = await desk.ask("dead-letters", "show", "m1", "--reveal")

    assert f'"email": "{ADA}"' in output.out


async def test_a_replay_is_handled_and_leaves_the_dead_letters(desk, plans):
    await subscribe(desk, 1)
    await dead(desk, expected=1)
    plans.made = True

    output = await desk.ask("dead-letters", "replay", "--code", "unknown_plan")

    assert output.code == 0
    assert (await desk.next_settled()).settlement == Done()
    assert plans.handled == ["s1"]
    assert await dead(desk, expected=0) == []


async def test_what_fails_again_is_a_dead_letter_again_and_can_be_replayed_again(desk, plans):
    await subscribe(desk, 1)
    await dead(desk, expected=1)

    await desk.ask("dead-letters", "replay", "--all")
    again = (await desk.next_settled()).settlement

    assert isinstance(again, GiveUp)
    assert again.code == "unknown_plan"
    (row,) = await dead(desk, expected=1)
    assert (row["message_id"], row["attempts"]) == ("m1", 1)

    plans.made = True
    await desk.ask("dead-letters", "replay", "--all")
    await desk.next_settled()
    assert plans.handled == ["s1"]


async def test_only_what_is_selected_is_replayed(desk, plans):
    for number in (1, 2, 3):
        await subscribe(desk, number)
    await dead(desk, expected=3)
    plans.made = True

    await desk.ask("dead-letters", "replay", "m2")
    await desk.next_settled()

    assert plans.handled == ["s2"]
    assert [row["message_id"] for row in await dead(desk, expected=2)] == ["m1", "m3"]


async def test_a_dry_run_moves_nothing(desk, plans):
    await subscribe(desk, 1)
    await dead(desk, expected=1)

    output = await desk.ask("dead-letters", "replay", "--all", "--dry-run")

    assert "would be replayed" in output.out
    assert len(await dead(desk, expected=1)) == 1


async def test_nobody_else_gets_a_replay(desk, plans):
    await subscribe(desk, 1)
    await dead(desk, expected=1)
    audit = await desk.channel.declare_queue(exclusive=True)
    await audit.bind("zoho.commands", "#")
    plans.made = True

    await desk.ask("dead-letters", "replay", "--all")
    await desk.next_settled()

    assert await audit.get(fail=False) is None


async def test_money_that_may_have_moved_is_not_replayed_plainly(desk):
    tried = []

    async def collect(message, work):
        tried.append(message.invoice_id)
        raise PermanentError("collect may have been done", code="outcome_unknown")

    async with desk.worker({"payment.collect_requested.v1": collect}) as worker:
        await until(worker.ready)
        await desk.send("payment.collect_requested.v1", "m1", invoice_id="i1")
        await dead(desk, expected=1)

        refused = await desk.ask("dead-letters", "replay", "--all")
        assert refused.code == 1
        assert "--i-know-what-happened" in refused.out
        assert len(await dead(desk, expected=1)) == 1

        output = await desk.ask("dead-letters", "replay", "--all", "--i-know-what-happened")
        assert output.code == 0
        await desk.next_settled()
        assert tried == ["i1", "i1"]


async def test_a_replay_says_what_it_lacks(desk, plans):
    nothing = await desk.ask("dead-letters", "replay")
    unknown = await desk.ask("dead-letters", "replay", "--service", "biling-worker")
    empty = await desk.ask("dead-letters", "replay", "--all")

    assert (nothing.code, unknown.code, empty.code) == (2, 2, 1)
    assert "--all" in nothing.err
    assert "billing-worker" in unknown.err
    assert "No dead letter was selected." in empty.out


async def test_one_that_cannot_be_opened_is_shown_so_and_the_others_go_on(desk, plans):
    for number in (1, 2, 3):
        await subscribe(desk, number)
    await dead(desk, expected=3)
    await desk.pool.execute(
        """
        UPDATE billing.dead_letters
        SET body = decode('00ff', 'hex'), headers = '"odd"', attempts = -3
        WHERE message_id = 'm1'
        """
    )
    await desk.pool.execute("UPDATE billing.dead_letters SET body = NULL WHERE message_id = 'm2'")
    plans.made = True

    for message_id in ("m1", "m2"):
        shown = await desk.ask("dead-letters", "show", message_id, "--reveal")
        assert shown.code == 0
        assert "unreadable" in shown.out
        assert "sealed_value_invalid" in shown.out
    assert (await desk.ask("dead-letters", "list")).code == 0
    replayed = await desk.ask("dead-letters", "replay", "--all")

    assert replayed.code == 1
    assert "m1: unreadable" in replayed.err
    assert "m2: unreadable" in replayed.err
    await dead(desk, expected=2)
    await until_handled(plans, ["s3"])
    assert (await desk.ask("dead-letters", "discard", "m1", "m2", "--yes")).code == 0


async def until_handled(plans, handled):
    async def check():
        return plans.handled == handled

    await until(check)


async def test_a_database_out_of_reach_is_named_without_its_password(desk):
    url = "postgresql://user:s3cret@127.0.0.1:1/none"

    output = await desk.ask("dead-letters", "list", DATABASE_URL=url)

    assert output.code == 1
    assert "s3cret" not in output.out + output.err


async def test_a_missing_setting_is_named(desk):
    output = await desk.ask("dead-letters", "list", DATABASE_URL="")

    assert (output.code, output.err) == (2, "DATABASE_URL: is not set\n")


MANY = """
    INSERT INTO {schema}.dead_letters
        (arrived, org, line, exchange, routing_key, route, message_id, priority, body_mac, code,
         reason, attempts, headers, given_up_at)
    SELECT n, 'default', '', '', 'user.updated.v1', 'user.updated.v1', 'm' || n, 1, '', $1, 'no', 1,
           '{{}}', now()
    FROM generate_series(1, $2::bigint) n
    """


async def many(desk, schema, code, count):
    """Dead letters whose bodies nobody opens."""
    await desk.pool.execute(MANY.format(schema=schema), code, count)


async def test_all_are_counted_whatever_their_number_and_service(desk):
    await migrate(desk.pool, schema="crm")
    await many(desk, "billing", "unknown_plan", 10_050)
    await many(desk, "crm", "contact_refused", 1)

    rows = (await desk.ask("dead-letters", "list", "--json")).rows

    assert [(row["service"], row["code"], row["messages"]) for row in rows] == [
        ("billing-worker", "unknown_plan", 10_050),
        ("crm-worker", "contact_refused", 1),
    ]


async def test_messages_are_listed_page_by_page_and_the_last_line_says_how_to_go_on(desk):
    await many(desk, "billing", "unknown_plan", 5)
    page = ("dead-letters", "list", "--each", "--json", "--limit", "3")

    first = await desk.ask(*page)
    *_, service_option, service, after_option, after = first.err.split()
    rest = await desk.ask(*page, service_option, service, after_option, after)

    assert [row["message_id"] for row in (*first.rows, *rest.rows)] == [
        "m1",
        "m2",
        "m3",
        "m4",
        "m5",
    ]
    assert rest.err == ""


async def test_any_number_is_replayed_in_batches_and_each_once(desk, plans, monkeypatch):
    monkeypatch.setattr(replay, "_BATCH", 2)
    for number in range(1, 6):
        await subscribe(desk, number, user_id="u1")
    await dead(desk, expected=5)
    plans.made = True

    output = await desk.ask("dead-letters", "replay", "--code", "unknown_plan")

    assert output.code == 0
    assert output.err.splitlines() == [f"{number} looked at …" for number in (2, 4, 5)]
    assert output.out.splitlines()[1].split()[1:4] == ["unknown_plan", "5", "replayed"]
    await until_handled(plans, ["s1", "s2", "s3", "s4", "s5"])


async def test_what_is_given_up_while_a_replay_runs_is_left_for_the_next(desk, plans):
    await subscribe(desk, 1)
    await dead(desk, expected=1)
    await desk.pool.execute("UPDATE billing.dead_letters SET given_up_at = now() + interval '1 h'")

    output = await desk.ask("dead-letters", "replay", "--all")

    assert "No dead letter was selected." in output.out


async def test_dead_letters_are_selected_by_routing_key_and_age(desk):
    await many(desk, "billing", "unknown_plan", 3)
    await desk.pool.execute(
        "UPDATE billing.dead_letters SET given_up_at = now() - interval '1 h' WHERE arrived = 1;"
        "UPDATE billing.dead_letters SET routing_key = 'user.signed_up.v1' WHERE arrived = 2"
    )

    old = await dead(desk, "--older-than", "1800", expected=1)
    updates = await dead(desk, "--routing-key", "user.updated.v1", expected=2)

    assert [row["message_id"] for row in old] == ["m1"]
    assert [row["message_id"] for row in updates] == ["m1", "m3"]


async def test_any_number_is_discarded_by_cause_once_somebody_confirmed(desk, monkeypatch):
    await many(desk, "billing", "unknown_plan", 250)
    await desk.pool.execute("UPDATE billing.dead_letters SET code = 'kept' WHERE arrived = 7")
    discard = ("dead-letters", "discard", "--code", "unknown_plan")

    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    asked = await desk.ask(*discard)
    tried = await desk.ask(*discard, "--dry-run")
    left = await desk.pool.fetchval(
        "SELECT count(*) FROM billing.dead_letters WHERE state = 'waiting'"
    )
    confirmed = await desk.ask(*discard, "--yes")

    assert (asked.code, tried.code, left, confirmed.code) == (1, 0, 250, 0)
    assert "Discard 249 messages for good?" in asked.out
    assert [row["code"] for row in await dead(desk, expected=1)] == ["kept"]
    who = "SELECT DISTINCT settled_by, settled_at IS NOT NULL FROM billing.dead_letters"
    [row] = await desk.pool.fetch(f"{who} WHERE state = 'discarded'")
    assert row[0]
    assert row[1]


async def test_nothing_is_discarded_when_nothing_selects(desk):
    await many(desk, "billing", "unknown_plan", 1)

    assert (await desk.ask("dead-letters", "discard", "--yes")).code == 2
    assert len(await dead(desk, expected=1)) == 1


async def test_what_is_given_up_while_somebody_confirms_is_not_discarded(
    desk, monkeypatch, database_url
):
    await many(desk, "billing", "unknown_plan", 1)

    async def give_up_one_more():
        connection = await asyncpg.connect(database_url)
        await connection.execute(
            MANY.format(schema="billing").replace("generate_series(1,", "generate_series(2,"),
            "unknown_plan",
            2,
        )
        await connection.close()

    def confirm(_question):
        asyncio.run(give_up_one_more())
        return True

    monkeypatch.setattr(typer, "confirm", confirm)
    await desk.ask("dead-letters", "discard", "--code", "unknown_plan")

    assert [row["message_id"] for row in await dead(desk, expected=1)] == ["m2"]
