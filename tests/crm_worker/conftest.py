from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg
import pytest

from deploy.driving.system_driver import SystemDriver
from services.crm_worker import app
from services.crm_worker.settings import Settings
from tests.kit.surroundings import Surroundings


@pytest.fixture
async def around(database_url: str, amqp_url: str) -> AsyncIterator[Surroundings]:
    async with Surroundings(database_url, amqp_url) as surroundings:
        yield surroundings


def settings(around: Surroundings, **more: object) -> Settings:
    """Return settings that flush at once, and match contacts by our own field."""
    chosen = {"crm_flush_every_s": 0.1, "zoho_crm_user_field": "App_User_Id", **more}
    return Settings(**{**around.environment, **chosen})


@pytest.fixture
async def crm(around: Surroundings) -> AsyncIterator[SystemDriver]:
    """A running crm-worker, seen from outside."""
    async with around.running(
        app.main, settings(around), queue="crm-worker.intake.events"
    ) as stage:
        yield stage


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()
