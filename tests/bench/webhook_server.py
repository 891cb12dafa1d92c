"""What the gateway is measured against: the signature, and one INSERT for each webhook.

Written by hand on the same server and driver, with nothing that the gateway does beyond: no
sealing, no outbox, no log line, no metrics. `python -m tests.bench.webhook_server PORT`, with
BENCH_DATABASE_URL and BENCH_SECRET.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import sys

import asyncpg
import uvloop
from aiohttp import web

INSERT = "INSERT INTO bench_webhooks (event_id, body) VALUES ($1, $2) ON CONFLICT DO NOTHING"


async def application() -> web.Application:
    pool = await asyncpg.create_pool(os.environ["BENCH_DATABASE_URL"], min_size=8, max_size=8)
    await pool.execute(
        "CREATE TABLE IF NOT EXISTS bench_webhooks (event_id text PRIMARY KEY, body bytea)"
    )
    secret = os.environ["BENCH_SECRET"].encode()

    async def receive(request: web.Request) -> web.Response:
        body = await request.read()
        expected = hmac.new(secret, body, hashlib.sha256).hexdigest()
        if not hmac.compare_digest(expected, request.headers["X-Zoho-Webhook-Signature"]):
            return web.Response(status=401)
        start = body.index(b'"event_id": "') + 13
        await pool.execute(INSERT, body[start : body.index(b'"', start)].decode(), body)
        return web.Response(body=b'{"ok":true}', content_type="application/json")

    app = web.Application()
    app.router.add_post("/webhooks/billing", receive)
    return app


if __name__ == "__main__":
    uvloop.install()
    web.run_app(application(), host="127.0.0.1", port=int(sys.argv[1]), access_log=None, print=None)
