"""Without the unique field in Books no invoice is created, because it could be created twice."""

from services.billing_worker import app
from services.billing_worker.settings import Settings
from tests.kit.surroundings import Surroundings


async def test_an_invoice_is_refused_while_its_unique_field_is_not_set(
    database_url: str, amqp_url: str
) -> None:
    lines = [{"description": "Work", "quantity": "1", "rate": "20"}]
    async with Surroundings(database_url, amqp_url) as around:
        settings = Settings(**around.environment)
        queue = "billing-worker.intake.commands"
        async with around.running(app.main, settings, queue=queue) as stage:
            await stage.publish("user.signed_up.v1", {"user_id": "u1", "email": "ada@example.com"})
            own = {"user_id": "u1", "invoice_id": "i1", "lines": lines}
            await stage.publish("invoice.create_requested.v1", own, message_id="m1")

            failed = await stage.event("command.failed.v1", message_id="m1")
            assert failed["code"] == "invoice_field_not_set"
            assert await stage.sandbox.records("books", "invoices") == []
