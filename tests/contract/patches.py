"""List the known defects of Zoho's OpenAPI files: the only place that forgives.

Each patch names its defect in the words of docs/zoho, where it says how we know. A test finds them
there. A patch that changes nothing fails when it is applied.
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

_AMOUNTS = "an amount has one type, where answers have numbers and strings"
_SUBSCRIPTION_TAX = "`plan.tax_id` is required"
_CUSTOMER_TAX = "`tax_authority_id` and `tax_authority_name` are required of every customer"
_TAG_BODIES = "`ids` and `tags` of the tag actions are one object each"
_JAVA = "patterns are written for Java"
_REQUIRED = "`required` names nearly every field of a ticket and of a comment"
_IDS = {"type": "array", "items": {"type": "string"}, "maxItems": 500}
_TAG_LIST = {
    "type": "array",
    "items": {"$ref": "#/components/schemas/TagsNested"},
    "maxItems": 10,
}

# A row of its own for each record, in their order, whether it was written or refused.
_ROWS: Final = {
    "type": "object",
    "required": ["data"],
    "additionalProperties": False,
    "properties": {
        "data": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["code", "status", "message", "details"],
                "properties": {
                    "code": {"type": "string"},
                    "status": {"enum": ["success", "error"]},
                    "message": {"type": "string"},
                    "details": {"type": "object"},
                    "action": {"enum": ["insert", "update"]},
                    "duplicate_field": {"type": ["string", "null"]},
                },
            },
        }
    },
}

PATCHES: Final = (
    # --- Billing ---------------------------------------------------------------------------------
    *(
        Patch(
            "billing", "`page` and `per_page` are missing", query(f"GET {path}", "page", "per_page")
        )
        for path in (
            *("/customers", "/plans", "/subscriptions", "/invoices", "/events"),
            "/transactions",
        )
    ),
    Patch(
        "billing",
        "`GET /payments` is missing",
        undocumented(
            "payments.yml",
            "GET /payments",
            ("page", "per_page", "customer_id"),
            {},
            organization="#/components/parameters/organization_id",
        ),
    ),
    Patch(
        "billing",
        "`email` and `email_contains` of `GET /customers` are missing",
        query("GET /customers", "email", "email_contains"),
    ),
    Patch(
        "billing",
        "`customer_id` and `reference_contains` of `GET /subscriptions` are missing",
        query("GET /subscriptions", "customer_id", "reference_contains"),
    ),
    Patch(
        "billing",
        "`customer_id` and `subscription_id` of `GET /invoices` are missing",
        query("GET /invoices", "customer_id", "subscription_id"),
    ),
    *(
        Patch(
            "billing",
            _CUSTOMER_TAX,
            required("customers.yml", f"{_SCHEMAS} {name}-request", "display_name", "email"),
        )
        for name in ("create-a-customer", "update-a-customer")
    ),
    Patch(
        "billing",
        "the alternatives of `POST /subscriptions` are all required",
        required(
            "subscription.yml",
            f"{_SCHEMAS} create-a-subscription-request",
            "plan",
            one_of=("customer_id", "customer"),
        ),
    ),
    Patch(
        "billing",
        "`PUT /subscriptions/{id}` requires more than `plan`",
        required("subscription.yml", f"{_SCHEMAS} update-a-subscription-request", "plan"),
    ),
    *(
        Patch(
            "billing",
            _SUBSCRIPTION_TAX,
            required("subscription.yml", f"{_SCHEMAS} {name} properties plan", "plan_code"),
        )
        for name in ("create-a-subscription-request", "update-a-subscription-request")
    ),
    *(
        Patch(
            "billing",
            "`addons[].tax_id` is required",
            required(
                "subscription.yml", f"{_SCHEMAS} {name} properties addons items", "addon_code"
            ),
        )
        for name in ("create-a-subscription-request", "update-a-subscription-request")
    ),
    Patch("billing", _AMOUNTS, numbers("price", "item_total")),
    *(
        Patch(
            "billing",
            "`api_name` of a customer's custom field is missing",
            field(
                "customers.yml",
                f"{_SCHEMAS} {name}-a-customer-request properties custom_fields items",
                "api_name",
            ),
        )
        for name in ("create", "update")
    ),
    Patch("billing", "an interval is a string", numbers("interval")),
    # --- Books -----------------------------------------------------------------------------------
    *(
        Patch(
            "books",
            "`date_start` and `date_end` are missing",
            query(f"GET {path}", "date_start", "date_end"),
        )
        for path in ("/invoices", "/creditnotes", "/customerpayments")
    ),
    *(
        Patch("books", "`sort_order` is missing", query(f"GET {path}", "sort_order"))
        for path in ("/invoices", "/creditnotes", "/customerpayments")
    ),
    Patch(
        "books",
        "`api_name` of an invoice's custom field is missing",
        field("invoices.yml", f"{_SCHEMAS} custom_fields items", "api_name"),
    ),
    Patch(
        "books",
        "the fields of an applied invoice are required of the payment too",
        required(
            "customer-payments.yml",
            f"{_SCHEMAS} create-a-payment-request",
            "customer_id",
            "payment_mode",
            "amount",
            "date",
        ),
    ),
    Patch(
        "books",
        "`last_modified_time` of `GET /customerpayments` is missing",
        query("GET /customerpayments", "last_modified_time"),
    ),
    Patch(
        "books", "the 201 of `PUT /invoices` is missing", answers("PUT /invoices", 201, like=200)
    ),
    Patch(
        "books",
        "`page_context` of invoices is a list",
        replaced(
            "invoices.yml",
            f"{_SCHEMAS} list-invoices-response properties page_context",
            {"type": "object"},
        ),
    ),
    Patch(
        "books",
        "`creditnotes` is one object with other fields",
        replaced(
            "credit-notes.yml",
            f"{_SCHEMAS} list-all-credit-notes-response properties creditnotes",
            {"type": "array", "items": {"type": "object"}},
        ),
    ),
    Patch(
        "books",
        "`item_id` is required of every line of an invoice",
        required(
            "invoices.yml",
            f"{_SCHEMAS} update-an-invoice-request properties line_items items",
        ),
    ),
    Patch("books", _AMOUNTS, numbers("total", "balance", "amount_bcy", "amount_fcy")),
    Patch(
        "books",
        "`GET /reports/profitandloss` is missing",
        undocumented(
            "invoices.yml",
            "GET /reports/profitandloss",
            ("from_date", "to_date", "filter_by"),
            {},
            organization="#/components/parameters/organization_id",
        ),
    ),
    # --- CRM -------------------------------------------------------------------------------------
    Patch("crm", _JAVA, java_patterns),
    *(
        Patch(
            "crm",
            _TAG_BODIES,
            replaced("tags_actions.json", f"{_SCHEMAS} {name} properties {field}", schema),
        )
        for name in ("PostaddtagsRequest", "PostremovetagsRequest")
        for field, schema in (("ids", _IDS), ("tags", _TAG_LIST))
    ),
    Patch(
        "crm",
        "the parameter `module` of the tag actions is in the path and in the query",
        optional("tags_actions.json", "components parameters ParamQueryModule"),
    ),
    Patch("crm", "the 204 of `GET /actions/watch` is missing", answers("GET /actions/watch", 204)),
    Patch(
        "crm",
        "the 207 of writes of which some rows failed is missing, and the pages have it",
        answers("POST /{module}/upsert", 207, schema=_ROWS),
    ),
    Patch(
        "crm",
        "`GET /{module}/{recordID}/Notes` is in none of the files that we use",
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
    Patch("desk", _JAVA, java_patterns),
    Patch("desk", "references lead to files of other modules", unselected_files),
    Patch("desk", "`orgId` is a parameter of the query", organization_in_a_header),
    Patch("desk", "`allOf` joins objects that are closed each by itself", closed_as_a_whole),
    *(
        Patch("desk", _REQUIRED, required("Ticket.json", *place))
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
        _REQUIRED,
        required(
            "TicketComment.json",
            "components requestBodies addCommentInput content application/json schema",
            "content",
        ),
    ),
    Patch(
        "desk",
        "`required` names fields of a contact that most have not",
        required("Contact.json", f"{_SCHEMAS} commonJson"),
    ),
    Patch(
        "desk",
        "`departmentId` of `GET /tickets` is required",
        optional("Ticket.json", "components parameters departmentId"),
    ),
    Patch(
        "desk",
        "`email` of `GET /contacts/search` is missing",
        query("GET /api/v1/contacts/search", "email"),
    ),
    Patch(
        "desk",
        "`GET /tickets/{id}/History` is missing its list",
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
        "the value of a changed property is an object",
        replaced(
            "TicketHistory.json",
            f"{_SCHEMAS} singleCaseHistoryRespns properties eventInfo items properties"
            " propertyValue",
            {},
        ),
    ),
    Patch(
        "desk",
        "the 200 of `GET /contacts/{id}/tickets` may be an error",
        replaced(
            "Ticket.json",
            "components responses getTicketsByContactResponse content application/json schema",
            {
                "type": "object",
                "properties": {"data": {"$ref": "#/components/schemas/listViewData"}},
            },
        ),
    ),
    Patch(
        "desk",
        "the 204 of an empty list is missing",
        answers("GET /api/v1/tickets/{ticketId}/comments", 204),
    ),
)

_CLOSED: Final = frozenset({"additionalProperties", "unevaluatedProperties"})
_PRESENT: Final = frozenset({"required", "minProperties", "maxProperties"})

NOT_HELD_IN_ANSWERS: Final = {
    "crm": ("Answers may have fields that the files do not name", _CLOSED),
    "desk": ("In answers `required` does not count", _CLOSED | _PRESENT),
}
"""Keywords that an answer of the product need not fulfil, with the words that say so."""
