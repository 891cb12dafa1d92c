"""Accept webhooks with one INSERT each: what the gateway is measured against.

Written by hand on the same server and driver: signature, JSON, the event's id as a keyed digest,
the message sealed, stored with its outbox row by the same statement for one, durable, 200. It does
nothing beyond: no log line, no metrics, no limits, no other forms of a body, no time-outs.
`/bare` leaves the outbox row out too: nothing would ever be passed on.

`python -m tests.bench.webhook_server PORT`, with BENCH_DATABASE_URL and BENCH_SECRET.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import sys
import uuid
from datetime import UTC, datetime

import asyncpg
import orjson
import uvloop
from aiohttp import web
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

TABLES = """
    DROP SCHEMA IF EXISTS bench CASCADE;
    CREATE SCHEMA bench;
    CREATE TABLE bench.webhooks (LIKE gateway.webhooks INCLUDING ALL);
    CREATE TABLE bench.outbox (LIKE gateway.outbox INCLUDING ALL);
    """
STORE = """
    INSERT INTO bench.webhooks (id, org, product, event, event_mac, body, received_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING
    """
STORE_AND_SEND = f"""
    WITH stored AS ({STORE} RETURNING id)
    INSERT INTO bench.outbox (id, org, exchange, routing_key, message_id, body, sealed, mandatory,
                              properties, leased_until)
    SELECT id, $2, $8, $9, $10, $6, true, true, $11::text::jsonb, clock_timestamp() FROM stored
    """  # noqa: S608


async def _keep(_: asyncpg.Connection) -> None:
    """Statements here leave nothing behind. To reset a connection is a round trip."""


async def application() -> web.Application:
    pool = await asyncpg.create_pool(
        os.environ["BENCH_DATABASE_URL"], min_size=8, max_size=8, reset=_keep
    )
    await pool.execute(TABLES)
    secret = os.environ["BENCH_SECRET"].encode()
    cipher, index_key = AESGCM(os.urandom(32)), os.urandom(32)

    async def receive(request: web.Request) -> web.Response:
        body = await request.read()
        expected = hmac.new(secret, body, hashlib.sha256).hexdigest()
        if not hmac.compare_digest(expected, request.headers["X-Zoho-Webhook-Signature"]):
            return web.Response(status=401)
        payload = orjson.loads(body)
        event, now, row_id = payload["event_type"], datetime.now(UTC), uuid.uuid4()
        event_mac = hmac.digest(index_key, payload["event_id"].encode(), "sha256")
        message = {
            "webhook_id": str(row_id),
            "event": event,
            "received_at": now,
            "payload": payload,
        }
        nonce = os.urandom(12)
        sealed = nonce + cipher.encrypt(nonce, orjson.dumps(message), event_mac)
        row = (row_id, "default", "billing", event, event_mac, sealed, now)
        if request.path == "/bare":
            await pool.execute(STORE, *row)
        else:
            properties = orjson.dumps({"timestamp": now, "headers": {"org": "default"}}).decode()
            letter = ("zoho.webhooks", f"billing.{event}.v1", str(row_id), properties)
            await pool.execute(STORE_AND_SEND, *row, *letter)
        return web.Response(body=b'{"ok":true}', content_type="application/json")

    app = web.Application()
    app.add_routes([web.post("/webhooks/billing", receive), web.post("/bare", receive)])
    return app


if __name__ == "__main__":
    uvloop.install()
    web.run_app(application(), host="127.0.0.1", port=int(sys.argv[1]), access_log=None, print=None)
