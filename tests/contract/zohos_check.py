"""Compare an entry of our tables with Zoho's own file, by samples of what the entry allows."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from tests.contract.documented import Documented
from tests.contract.exchanges import Exchange
from tests.contract.openapi import OpenApi
from tests.contract.tables import Tabled
from tests.contract.validation import answer_problems, request_problems

_ID: Final = "4600000000001"


def differences(entry: Tabled, zoho: OpenApi) -> Iterator[str]:
    """Yield what the entry allows and Zoho's file does not, and fields that the file lacks.

    `zoho` is opened for tables: `OpenApi(of_tables=True)`.
    """
    path = re.sub(r"\{[^}]*\}", _ID, entry.path)
    documented = zoho.operation(entry.product, entry.method, path)
    if documented is None:
        yield "not in Zoho's files"
        return
    problems = {
        problem
        for request in _requests(entry, path)
        for problem in request_problems(request, documented)
    }
    problems |= set(_in_answers(entry, path, documented))
    yield from sorted(problems)


def _requests(entry: Tabled, path: str) -> Iterator[Exchange]:
    parts = [
        list(entry.notation.samples(entry.noted.get(name, {})))
        for name in ("query", "headers", "body")
    ]
    for number in range(max(map(len, parts))):
        # The last of each is its smallest, and stands for what is missing.
        query, headers, body = (part[min(number, len(part) - 1)] for part in parts)
        yield _exchange(entry, path, query, headers, body)


def _exchange(
    entry: Tabled, path: str, query: Mapping[str, Any], headers: Mapping[str, Any], body: Any
) -> Exchange:
    organization = {
        where: {one.name: _ID for one in entry.parameters if one.where == where and one.required}
        for where in ("query", "header")
    }
    sent_headers = organization["header"] | dict(headers) | {"authorization": "…"}
    if entry.takes_body:
        sent_headers["content-type"] = "application/json"
    return Exchange(
        product=entry.product,
        method=entry.method,
        path=path,
        query={name: str(value) for name, value in (organization["query"] | dict(query)).items()},
        headers={name.lower(): str(value) for name, value in sent_headers.items()},
        body=body if entry.takes_body else None,
        status=0,
        answer=None,
    )


def _in_answers(entry: Tabled, path: str, documented: Documented) -> Iterator[str]:
    for status in entry.answers:
        noted = entry.noted[status]
        for answer in _answers(entry, noted):
            exchange = Exchange(
                product=entry.product,
                method=entry.method,
                path=path,
                query={},
                headers={},
                body=None,
                status=status,
                answer=answer,
            )
            yield from answer_problems(exchange, documented)


def _answers(entry: Tabled, noted: Any) -> Iterator[dict[str, Any]]:
    if noted in ("none", "pdf"):
        yield {"type": "application/pdf" if noted == "pdf" else "", "bytes": 0}
        return
    for sample in entry.notation.samples(noted):
        yield {"type": "application/json", "bytes": 1, "json": sample}
