"""List the known defects of Zoho's OpenAPI files: the only place that forgives.

Each patch carries the words of the reference (../shared/zoho) that mark its defect. A test finds
them there. One that changes nothing fails when it is applied. `UNMARKED`: defects that the
reference does not name. The comment says how we know.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tests.contract.mending import (
    Change,
    Documents,
    answers,
    closed_as_a_whole,
    field,
    java_patterns,
    numbers,
    optional,
    organization_in_a_header,
    query,
    replaced,
    required,
    undocumented,
    unselected_files,
)

UNMARKED: Final = ""


@dataclass(frozen=True)
class Patch:
    product: str
    marked: str
    change: Change


class Needless(Exception):
    """A patch found nothing to put right: the files are mended, or it names the wrong place."""


def apply(product: str, documents: Documents) -> None:
    """Put the files of the product right. Raises Needless."""
    for patch in PATCHES:
        if patch.product == product and not patch.change(documents):
            raise Needless(f"{product}: {patch.marked}")


_SCHEMAS: Final = "components schemas"

_NO_PAGING = "no paging params, no max lengths, no pause/resume, no `GET /payments`"
_TAX = "marks `tax_authority_id`, `tax_authority_name` **required** (edition-specific)"
_SUBSCRIPTION = "marks `customer`, `customer_id`, `card_id`, `account_id`, `plan` all required"
_MONEY = 'Money: numbers in Billing, strings in parts of Books OAS (`total:"10000.0"`)'
_DATES = "dates `_start/_end/_before/_after`"
_SORTED = "`sort_column`, `sort_order=A|D`"
_JAVA = "fail only on a Java regex"
_TAGS_BODY = "JSON body `{tags:[{name}], ids:[…], over_write}`"
_IDS = {"type": "array", "items": {"type": "string"}, "maxItems": 500}
_TAG_LIST = {
    "type": "array",
    "items": {"$ref": "#/components/schemas/TagsNested"},
    "maxItems": 10,
}

PATCHES: Final = (
    # --- Billing ---------------------------------------------------------------------------------
    *(
        Patch("billing", _NO_PAGING, query(f"GET {path}", "page", "per_page"))
        for path in ("/customers", "/plans", "/subscriptions", "/invoices", "/events")
    ),
    Patch(
        "billing",
        _NO_PAGING,
        undocumented(
            "payments.yml",
            "GET /payments",
            ("page", "per_page", "customer_id"),
            {},
            organization="#/components/parameters/organization_id",
        ),
    ),
    Patch("billing", "used by at least 4 repos, not in the OAS", query("GET /customers", "email")),
    Patch("billing", "`email_contains` in 3", query("GET /customers", "email_contains")),
    Patch(
        "billing",
        "**`&reference_contains=`**",
        query("GET /subscriptions", "customer_id", "reference_contains"),
    ),
    Patch(
        "billing",
        "`GET /invoices?customer_id=|subscription_id=",
        query("GET /invoices", "customer_id", "subscription_id"),
    ),
    *(
        Patch(
            "billing",
            _TAX,
            required("customers.yml", f"{_SCHEMAS} {name}-request", "display_name", "email"),
        )
        for name in ("create-a-customer", "update-a-customer")
    ),
    Patch(
        "billing",
        _SUBSCRIPTION,
        required(
            "subscription.yml",
            f"{_SCHEMAS} create-a-subscription-request",
            "plan",
            one_of=("customer_id", "customer"),
        ),
    ),
    Patch(
        "billing",
        "`PUT /subscriptions/{id}`: same",
        required("subscription.yml", f"{_SCHEMAS} update-a-subscription-request", "plan"),
    ),
    *(
        Patch(
            "billing",
            "`plan.tax_id`, `addons[].tax_id`, `customer.tax_authority_*` likewise",
            required("subscription.yml", f"{_SCHEMAS} {name} properties plan", "plan_code"),
        )
        for name in ("create-a-subscription-request", "update-a-subscription-request")
    ),
    Patch("billing", _MONEY, numbers("price", "item_total")),
    # Public code names custom fields of the finance products so, in all of them but Billing
    # [code ix:25391179213, ix:13468780673, ix:60051800975]. To be seen on a real organization.
    *(
        Patch(
            "billing",
            UNMARKED,
            field(
                "customers.yml",
                f"{_SCHEMAS} {name}-a-customer-request properties custom_fields items",
                "api_name",
            ),
        )
        for name in ("create", "update")
    ),
    # The example beside `type: string` is the number 1, and so it is in Zoho's printed samples.
    Patch("billing", UNMARKED, numbers("interval")),
    # --- Books -----------------------------------------------------------------------------------
    *(
        Patch("books", _DATES, query(f"GET {path}", "date_start", "date_end"))
        for path in ("/invoices", "/creditnotes", "/customerpayments")
    ),
    *(
        Patch("books", _SORTED, query(f"GET {path}", "sort_order"))
        for path in ("/invoices", "/creditnotes", "/customerpayments")
    ),
    Patch(
        "books",
        "`{api_name, value}` is proven for Books and Inventory",
        field("invoices.yml", f"{_SCHEMAS} custom_fields items", "api_name"),
    ),
    Patch(  # the fields of an applied invoice are required at the top level too
        "books",
        "`POST /customerpayments` (customer_id*, payment_mode*, amount*, date*",
        required(
            "customer-payments.yml",
            f"{_SCHEMAS} create-a-payment-request",
            "customer_id",
            "payment_mode",
            "amount",
            "date",
        ),
    ),
    # Public code reads the payments of Zoho Invoice, the same platform, by it.
    Patch("books", UNMARKED, query("GET /customerpayments", "last_modified_time")),
    Patch("books", "Create → 201, others 200", answers("PUT /invoices", 201, like=200)),
    Patch(
        "books",
        "the OAS types it as an array for invoices",
        replaced(
            "invoices.yml",
            f"{_SCHEMAS} list-invoices-response properties page_context",
            {"type": "object"},
        ),
    ),
    # Of all lists of Books this one is typed as one object. Its name is a plural.
    Patch(
        "books",
        UNMARKED,
        replaced(
            "credit-notes.yml",
            f"{_SCHEMAS} list-all-credit-notes-response properties creditnotes",
            {"type": "array", "items": {"type": "object"}},
        ),
    ),
    # Public code sends lines without an item of the catalogue: name, description, quantity, rate
    # [code ix:61194272593]. To be seen on a real organization.
    Patch(
        "books",
        UNMARKED,
        required(
            "invoices.yml",
            f"{_SCHEMAS} update-an-invoice-request properties line_items items",
        ),
    ),
    Patch("books", _MONEY, numbers("total", "balance", "amount_bcy", "amount_fcy")),
    # --- CRM -------------------------------------------------------------------------------------
    Patch("crm", _JAVA, java_patterns),
    *(
        Patch(
            "crm",
            _TAGS_BODY,
            replaced("tags_actions.json", f"{_SCHEMAS} {name} properties {field}", schema),
        )
        for name in ("PostaddtagsRequest", "PostremovetagsRequest")
        for field, schema in (("ids", _IDS), ("tags", _TAG_LIST))
    ),
    Patch(
        "crm",
        "`POST /Contacts/actions/add_tags` with `ids` **≤500**",
        optional("tags_actions.json", "components parameters ParamQueryModule"),
    ),
    Patch("crm", "**204** empty body", answers("GET /actions/watch", 204)),
    Patch(
        "crm",
        "24 JSON, OAS **3.0.0**, `/crm/v8/…`",  # the related lists are in a file not selected
        undocumented(
            "notes.json",
            "GET /{module}/{recordID}/Notes",
            ("fields", "ids", "page", "per_page", "page_token", "sort_by", "sort_order"),
            {
                "type": "object",
                "required": ["data", "info"],
                "properties": {"data": {"type": "array", "items": {"type": "object"}}},
            },
        ),
    ),
    # --- Desk ------------------------------------------------------------------------------------
    Patch("desk", "Java regex `\\P{InBasicLatin}`", java_patterns),
    Patch("desk", "A selection of the files below lies in `oas/crm/`", unselected_files),
    Patch("desk", "OAS models it as a query parameter", organization_in_a_header),
    Patch("desk", "Request bodies are `additionalProperties:false` in the OAS", closed_as_a_whole),
    *(
        Patch("desk", "over-broad, don't generate models from it", required("Ticket.json", *place))
        for place in (
            (f"{_SCHEMAS} commonKeys",),
            (f"{_SCHEMAS} commonRequestJson allOf 1",),
            (
                "components requestBodies addRequestjson content application/json schema allOf 2",
                "subject",
                "departmentId",
            ),
        )
    ),
    Patch(
        "desk",
        "Desk: `required` lists over-broad, everything nullable",
        required(
            "TicketComment.json",
            "components requestBodies addCommentInput content application/json schema",
            "content",
        ),
    ),
    Patch(  # its description is of another operation, the count of a department's tickets
        "desk",
        "Desk: `required` lists over-broad, everything nullable",
        optional("Ticket.json", "components parameters departmentId"),
    ),
    Patch(
        "desk",
        "searchContacts lacks email/phone",
        query("GET /api/v1/contacts/search", "email"),
    ),
    Patch(
        "desk",
        "`GET /tickets/{id}/History?fieldName=status` (limit ≤50)",
        undocumented(
            "TicketHistory.json",
            "GET /api/v1/tickets/{ticketId}/History",
            ("fieldName", "from", "limit"),
            {
                "type": "object",
                "required": ["data"],
                "properties": {"data": {"$ref": "#/components/schemas/newTicketHistoryArray"}},
            },
            organization="./Common.json#/components/parameters/orgId",
        ),
    ),
    Patch(
        "desk",
        "examples contradict types",
        replaced(
            "TicketHistory.json",
            f"{_SCHEMAS} singleCaseHistoryRespns properties eventInfo items properties"
            " propertyValue",
            {},
        ),
    ),
    Patch(
        "desk",
        "**Empty list or search = 204 without body**",
        answers("GET /api/v1/tickets/{ticketId}/comments", 204),
    ),
)

_CLOSED: Final = frozenset({"additionalProperties", "unevaluatedProperties"})
_PRESENT: Final = frozenset({"required", "minProperties", "maxProperties"})

NOT_HELD_IN_ANSWERS: Final = {
    "crm": ("Response models must ignore unknown fields", _CLOSED),
    "desk": ("Desk: `required` lists over-broad, everything nullable", _CLOSED | _PRESENT),
}
"""Keywords that an answer of the product need not fulfil, with the words that say so."""
