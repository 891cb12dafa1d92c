"""Make aioresponses work with aiohttp 3.14, which wants to know what wrote the request."""

from typing import Any, Self
from unittest.mock import Mock

from aiohttp import ClientResponse
from aioresponses import aioresponses


class _Answer(ClientResponse):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, stream_writer=Mock(output_size=0), **kwargs)


class MockedHttp(aioresponses):
    """`with MockedHttp() as web: web.get(url, payload=…)`, as aioresponses. Use this one."""

    def add(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("response_class", _Answer)
        super().add(*args, **kwargs)

    def __enter__(self) -> Self:
        super().__enter__()
        return self
