"""Answer one question for everybody who calls Zoho: how long do we wait after X?

Where Zoho names a time (`Retry-After`, or `X-Rate-Limit-Reset` for the day), that time counts, up
to `LONGEST_NAMED_S`. The waits below are for answers that name none.

A wait shorter than `IN_PLACE_S` is spent where the call is made. A longer one is the message's: it
is put back until that time, and spends no attempt. While a cause concerns every call of a product,
its breaker is open for the same time, and no message that needs the product is leased.

Two kinds of waits stand elsewhere. The moment at which a used-up limit of our own count has room
again is computed by the ledger (`relay.take_permit`). The delay of a message that was tried and
failed is messaging's (`shared.messaging.handling.policy`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

# A shorter wait is spent in place: for a permit, and after a refusal.
IN_PLACE_S: Final = 5.0

# After a limit of Zoho's, by the limit's name. Codes and sources: the products' error tables.
AFTER_LIMIT_S: Final[Mapping[str, float]] = {
    "minute": 60.0,
    # Headers say how long (docs/zoho/finance.md §2.3). Without them, one call an hour finds out.
    "day": 3600.0,
    "concurrency": 1.0,
}
# CRM has one 429 for two limits, concurrency and the day (docs/zoho/crm.md §1.5). Refusals that
# last this long are taken for the day's.
DAY_LIMIT_SUSPECTED_AFTER_S: Final = 120.0
# And this is how long they then count as the day's.
AFTER_SUSPECTED_DAY_LIMIT_S: Final = 1800.0
# A day at most: what a header says beyond that is not what we take it for.
LONGEST_NAMED_S: Final = 86_400.0

# After a refusal because of a record's state, which passes.
AFTER_CHANGED_MEANWHILE_S: Final = 1.0
AFTER_RECORD_LOCKED_S: Final = 60.0

# A read without an answer, and a write that surely was not written, are tried again in place. The
# first wait doubles, and each is lengthened by up to half at random.
ATTEMPTS_IN_PLACE: Final = 3
FIRST_RETRY_S: Final = 0.5

# A write whose answer was lost is looked for after the request's timeout and so much more, times
# `SETTLE_FACTOR`. Operations name their own lag. This one is for those that do not.
SEARCH_LAG_S: Final = 120.0

# So many lost answers in a row are an outage. Fewer are normal.
OUTAGE_AFTER_LOST: Final = 5
# After an outage, and after what a person has to mend, nothing is called for `BREAKER_PAUSE_S`.
# Then one call finds out, and the pause doubles up to the longest.
FIRST_PAUSE_S: Final = 15.0
LONGEST_PAUSE_S: Final = 300.0
# The one call that finds out may take so long before another may try.
TRIAL_S: Final = 60.0

# After a refused token. At most one mint in this time is spent on finding out whether a token that
# is known to be good was killed. One that is younger than this would hardly be bettered by another.
TOKEN_IS_GOOD_S: Final = 300.0
# After token-service could not give a token, where it names no time.
AFTER_NO_TOKEN_S: Final = 30.0
# How long minting pauses after each code of the accounts server's. Where a person has to act, the
# pause is long enough to cause no noise and short enough to notice the fix. New credentials are
# tried at once.
AFTER_ACCOUNTS_REFUSAL_S: Final[Mapping[str, float]] = {
    "cool_down": 600.0,  # the window of the limit on mints (docs/zoho/finance.md §1.4)
    "refresh_token_dead": 120.0,
    "invalid_client": 120.0,
    "wrong_data_center": 120.0,
    "not_configured": 120.0,
    "accounts_unavailable": 15.0,
}
