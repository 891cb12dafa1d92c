"""What the gateway is measured against: the same acceptance, with one INSERT for each webhook.

Written by hand on the same server and driver: signature, JSON, the body sealed, the event's id as a
keyed digest, durable, 200. It does nothing that the gateway does beyond: no outbox, no log line, no
metrics, no limits. `python -m tests.bench.webhook_server PORT`, with BENCH_DATABASE_URL and
BENCH_SECRET.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import sys

import asyncpg
import orjson
import uvloop
from aiohttp import web
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

INSERT = "INSERT INTO bench_webhooks (event_mac, body) VALUES ($1, $2) ON CONFLICT DO NOTHING"


async def application() -> web.Application:
    pool = await asyncpg.create_pool(os.environ["BENCH_DATABASE_URL"], min_size=8, max_size=8)
    await pool.execute("DROP TABLE IF EXISTS bench_webhooks")
    await pool.execute("CREATE TABLE bench_webhooks (event_mac bytea PRIMARY KEY, body bytea)")
    secret = os.environ["BENCH_SECRET"].encode()
    cipher, index_key = AESGCM(os.urandom(32)), os.urandom(32)

    async def receive(request: web.Request) -> web.Response:
        body = await request.read()
        expected = hmac.new(secret, body, hashlib.sha256).hexdigest()
        if not hmac.compare_digest(expected, request.headers["X-Zoho-Webhook-Signature"]):
            return web.Response(status=401)
        event_mac = hmac.digest(index_key, orjson.loads(body)["event_id"].encode(), "sha256")
        nonce = os.urandom(12)
        await pool.execute(INSERT, event_mac, nonce + cipher.encrypt(nonce, body, event_mac))
        return web.Response(body=b'{"ok":true}', content_type="application/json")

    app = web.Application()
    app.router.add_post("/webhooks/billing", receive)
    return app


if __name__ == "__main__":
    uvloop.install()
    web.run_app(application(), host="127.0.0.1", port=int(sys.argv[1]), access_log=None, print=None)
