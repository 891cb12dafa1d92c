"""Generate the AsyncAPI 3 document and the JSON Schemas: `python -m shared.contracts.asyncapi`.

It writes `asyncapi.json` and `schemas/<message>.json` into the folder named, `docs` by default.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from shared.contracts.commands import COMMANDS
from shared.contracts.events import EVENTS, Event
from shared.contracts.replies import RESULTS, Done, Refused
from shared.contracts.zoho_calls import ZOHO_CALLS

JsonSchema = dict[str, Any]

_SCHEMA_FORMAT = "application/schema+json;version=draft-2020-12"
_PRODUCTS = {
    "billing": "Zoho Billing",
    "books": "Zoho Books",
    "crm": "Zoho CRM",
    "desk": "Zoho Desk",
}
_ENVELOPE = ("event_id", "occurred_at", "org")
_FOR_CONSUMERS = (
    "Commands in on `zoho.commands`, events out on `zoho.events`.\n\n"
    "What a consumer may rely on: An event may arrive more than once, with the same `event_id`"
    " and the same content: drop one that you have had. Only a restore of the database may"
    " change that: an event that tells of something once (`customer.created.v1`,"
    " `invoice.issued.v1`, `payment.succeeded.v1`, `payment.failed.v1`, `ticket.created.v1`)"
    " may then come again under its `event_id` with a higher `version` and another"
    " `occurred_at`. An event that carries a state has a `version`, which"
    " rises with each event of its `subject`. Two events of one subject may overtake each"
    " other: keep the one with the higher `version`. `tier_version` counts a user's tier in"
    " the same way, over all subscriptions of the user. An event without a `version` is a fact"
    " that replaces nothing: handle each. Commands of one user take effect in the order in"
    " which one publisher with confirms sent them. Unknown fields of an event are to be"
    " ignored: a new optional field is no new version of its routing key."
)
_OF_STATE = (
    "What the event is about. Of two events with the same subject, the one with the higher version"
    " is newer."
)
_OF_FACT = "What the event is about. It has no version, because it replaces no other event."
_PROPERTIES = {
    "command": {
        "message_id": "Required, at most 128 characters. The same command has the same id.",
        "correlation_id": "Passed on to events and replies.",
        "reply_to": "A queue of yours, for commands that are answered.",
        "content_type": "application/json",
    },
    "event": {
        "message_id": "The event_id.",
        "correlation_id": "That of the message that caused it.",
    },
}


def schema_of_command(model: type[BaseModel]) -> JsonSchema:
    return _titled(model.model_json_schema(mode="validation"), model)


def schema_of_event(model: type[Event]) -> JsonSchema:
    """Return the schema of the event on the wire, with its `subject` and the whole envelope.

    Versions are required of an event that carries a state. A fact has none.
    """
    schema = model.model_json_schema(mode="serialization")
    properties = schema["properties"]
    versions = [name for name in properties if name == "version" or name.endswith("_version")]
    if not model.carries_state:
        for name in versions:
            del properties[name]
        versions = []
    for name in (*_ENVELOPE, *versions):
        (properties[name],) = [
            branch for branch in properties[name]["anyOf"] if branch != {"type": "null"}
        ]
    about = _OF_STATE if model.carries_state else _OF_FACT
    properties["subject"] = {"type": "string", "description": about}
    schema["required"] = [*_ENVELOPE, *versions, "subject", *schema.get("required", [])]
    schema["additionalProperties"] = True
    return _titled(schema, model)


def schemas() -> Mapping[str, JsonSchema]:
    """Return every schema by the name of its file, without the suffix."""
    schemas = {key: schema_of_command(model) for key, model in COMMANDS.items()}
    schemas |= {key: schema_of_event(model) for key, model in EVENTS.items()}
    for key, results in RESULTS.items():
        schemas[f"{key}.reply"] = _reply_schema(results)
    return schemas


def document() -> JsonSchema:
    """Return the AsyncAPI document. Its messages refer to the schema files beside it."""
    channels: JsonSchema = {}
    operations: JsonSchema = {}
    messages: JsonSchema = {}
    for key, model in COMMANDS.items():
        messages[key] = _message(key, model, "command")
        channels[key] = _channel(key, "zoho.commands")
        operations[f"receive {key}"] = _operation("receive", key) | _zoho_calls(key)
        if key in RESULTS:
            reply = f"{key}.reply"
            messages[reply] = {"name": reply, "title": f"Answer to {key}", "payload": _ref(reply)}
            channels[reply] = _reply_channel(reply)
            operations[f"receive {key}"]["reply"] = {
                "address": {"location": "$message.header#/reply_to"},
                "channel": {"$ref": f"#/channels/{reply}"},
            }
    for key, event in EVENTS.items():
        messages[key] = _message(key, event, "event")
        channels[key] = _channel(key, "zoho.events")
        operations[f"send {key}"] = _operation("send", key)
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "zoho-relay",
            "version": "1",
            "description": _FOR_CONSUMERS,
        },
        "defaultContentType": "application/json",
        "channels": channels,
        "operations": operations,
        "components": {"messages": messages},
    }


def files() -> Mapping[str, str]:
    """Return the content of each file by its path within the folder."""
    contents = {"asyncapi.json": document()}
    contents |= {f"schemas/{name}.json": schema for name, schema in schemas().items()}
    return {name: json.dumps(content, indent=2) + "\n" for name, content in contents.items()}


def _titled(schema: JsonSchema, model: type[BaseModel]) -> JsonSchema:
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["description"] = (model.__doc__ or "").strip()
    return schema


def _reply_schema(results: tuple[type[BaseModel], ...]) -> JsonSchema:
    done = Done.model_json_schema(mode="serialization")
    definitions: JsonSchema = {}
    for result in results:
        of_result = result.model_json_schema(mode="serialization")
        definitions |= of_result.pop("$defs", {})
        definitions[result.__name__] = of_result
    done["properties"]["result"] = {
        "anyOf": [{"$ref": f"#/$defs/{result.__name__}"} for result in results]
    }
    done["required"] = ["ok", "result"]
    refused = Refused.model_json_schema(mode="serialization")
    refused["required"] = ["ok", "code", "reason"]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "oneOf": [done, refused],
        "$defs": definitions,
    }


def _ref(name: str) -> JsonSchema:
    return {"schemaFormat": _SCHEMA_FORMAT, "schema": {"$ref": f"./schemas/{name}.json"}}


def _message(key: str, model: type[BaseModel], kind: str) -> JsonSchema:
    described = {name: {"description": text} for name, text in _PROPERTIES[kind].items()}
    return {
        "name": key,
        "title": model.__name__,
        "summary": (model.__doc__ or "").strip().partition("\n")[0],
        "headers": {"type": "object", "properties": described},
        "payload": _ref(key),
    }


def _channel(key: str, exchange: str) -> JsonSchema:
    return {
        "address": key,
        "messages": {key: {"$ref": f"#/components/messages/{key}"}},
        "bindings": {
            "amqp": {
                "is": "routingKey",
                "exchange": {"name": exchange, "type": "topic", "durable": True},
                "bindingVersion": "0.3.0",
            }
        },
    }


def _reply_channel(name: str) -> JsonSchema:
    return {"address": None, "messages": {name: {"$ref": f"#/components/messages/{name}"}}}


def _operation(action: str, key: str) -> JsonSchema:
    return {"action": action, "channel": {"$ref": f"#/channels/{key}"}}


def _zoho_calls(key: str) -> JsonSchema:
    """Return what the command asks of Zoho, as a sentence and as data."""
    calls = ZOHO_CALLS.get(key)
    if calls is None:
        return {}
    products = (f"{_PRODUCTS[product]} ({', '.join(names)})" for product, names in calls.items())
    return {
        "description": f"Calls {' and '.join(products)}: those that are needed.",
        "x-zoho-calls": {product: list(names) for product, names in calls.items()},
    }


def main(arguments: list[str]) -> None:
    folder = Path(arguments[0] if arguments else "docs")
    wanted = files()
    for name, content in wanted.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    for path in (folder / "schemas").glob("*.json"):
        if f"schemas/{path.name}" not in wanted:
            path.unlink()


if __name__ == "__main__":
    main(sys.argv[1:])
