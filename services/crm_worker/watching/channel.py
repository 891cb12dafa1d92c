"""Keep the channel by which CRM announces changes of contacts.

It is opened, prolonged long before it lapses, and opened anew when it lapsed all the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import structlog

from services.crm_worker.repositories.watches import Watch, Watches
from shared.errors import IntegrationError
from shared.zoho.products.crm.client import ZohoCrm
from shared.zoho.products.crm.models import ChannelToOpen

log = structlog.get_logger(__name__)

# CRM grants a week at most from v4 on, and a day before. What is asked for beyond becomes an hour.
# https://www.zoho.com/crm/developer/docs/api/v8/notifications/enable.html
_LONGEST: Final = timedelta(days=7)
_LONGEST_BEFORE_V4: Final = timedelta(days=1)
_CLOCKS_DIFFER: Final = timedelta(minutes=10)
# An organization's clock that is far off still leaves an hour (see above).
_SHORTEST: Final = timedelta(hours=1)
_RENEWED_EVERY_S: Final = 86_400.0
_TRIED_AGAIN_S: Final = 300.0
_FIRST_LONG_VERSION: Final = 4


@dataclass(frozen=True)
class ChannelAddress:
    """Where CRM posts, and the token by which webhook-gateway knows it."""

    notify_url: str
    token: str

    def __repr__(self) -> str:
        return "<ChannelAddress>"


class Channel:
    """Opens and prolongs the channel of one organization. `version` is that of CRM's API."""

    def __init__(
        self, watches: Watches, crm: ZohoCrm, address: ChannelAddress, *, version: str
    ) -> None:
        self._watches = watches
        self._crm = crm
        self._address = address
        is_long = float(version.removeprefix("v")) >= _FIRST_LONG_VERSION
        self._life = (_LONGEST if is_long else _LONGEST_BEFORE_V4) - _CLOCKS_DIFFER

    async def keep(self, watch: Watch) -> Watch:
        """Open or prolong the channel, and return the state after that.

        Without a channel, contacts are compared more often, so a failure is only logged.
        """
        try:
            expires_at, is_new = await self._renewed(watch)
        except IntegrationError as error:
            log.warning("the channel of CRM is not open", code=error.code)
            expires_at, is_new = None, False
        if expires_at is None:
            await self._watches.postpone_renewal(self._crm.org, watch, after_s=_TRIED_AGAIN_S)
            return watch
        left_s = (expires_at - watch.now).total_seconds()
        return await self._watches.record_channel(
            self._crm.org,
            watch,
            expires_at=expires_at,
            is_new=is_new,
            renew_in_s=min(_RENEWED_EVERY_S, max(_TRIED_AGAIN_S, left_s / 2)),
        )

    async def _renewed(self, watch: Watch) -> tuple[datetime | None, bool]:
        channel = ChannelToOpen(
            channel_id=watch.channel_id,
            notify_url=self._address.notify_url,
            token=self._address.token,
            expires_at=watch.now + self._life,
        )
        if watch.has_channel:
            row, granted = await self._crm.renew_channel(channel)
            if row.ok:
                return granted or watch.now + _SHORTEST, False
            log.warning("the channel of CRM is gone", code=row.code)
        row, granted = await self._crm.open_channel(channel)
        if not row.ok:
            log.warning("the channel of CRM was refused", code=row.code, fields=row.fields)
            return None, False
        log.info("the channel of CRM is open")
        return granted or watch.now + _SHORTEST, True
