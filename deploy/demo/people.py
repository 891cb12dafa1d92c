"""Name the people of the story."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Person:
    user_id: str
    first_name: str
    last_name: str

    @property
    def name(self) -> str:
        return f"{self.first_name} {self.last_name}"

    @property
    def email(self) -> str:
        return f"{self.first_name}.{self.last_name}@example.com".lower()


ADA = Person("u-1001", "Ada", "Fairweather")
BEN = Person("u-1002", "Ben", "Okonkwo")
CHLOE = Person("u-1003", "Chloe", "Marchetti")
EVERYONE = (ADA, BEN, CHLOE)
