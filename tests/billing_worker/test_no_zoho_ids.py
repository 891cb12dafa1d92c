"""The search for ids and links of Zoho's, which ends every test here, finds a planted one."""

import base64
from typing import Any

import pytest

from services.zoho_sandbox.finance.invoice_pdf import invoice_pdf
from tests.billing_worker.conftest import Upstream
from tests.billing_worker.scenarios import ADA

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_an_id_in_an_event_is_found(upstream: Upstream) -> None:
    await upstream.send(ADA)
    await upstream.event("customer.created.v1", user_id="u1")
    (customer,) = await upstream.records("billing", "customers")

    upstream.events.append(("planted.v1", {"reason": f"no card of {customer['customer_id']}"}))

    with pytest.raises(AssertionError, match="customer_id"):
        await upstream.assert_no_zoho_id_left()
    upstream.events.pop()


async def test_a_link_in_a_pdf_is_found(
    upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = "https://zohosecurepay.com/billing/1/pay"
    pdf = base64.b64encode(invoice_pdf("INV-1", "Ada", 12.0, "USD", link)).decode()
    planted: dict[str, Any] = {"planted": {"ok": True, "result": {"content": pdf}}}

    with monkeypatch.context() as replies:
        replies.setattr(upstream, "_replies", planted)
        with pytest.raises(AssertionError):
            await upstream.assert_no_zoho_id_left()
