"""Errors of settings: one sentence each."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from nasp.errors import UsageError, unknown_name, validated


class Settings(BaseModel):
    model_config = ConfigDict(extra="forbid")

    epochs: int = Field(1, ge=1)
    cost: str = "flops"

    @field_validator("cost")
    @classmethod
    def _known(cls, cost: str) -> str:
        if cost != "flops":
            raise ValueError(str(unknown_name("cost", cost, ["flops"])))
        return cost

    @model_validator(mode="after")
    def _together(self) -> Settings:
        if self.epochs == 7:
            raise ValueError("seven epochs need no cost")
        return self


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (
            {"epochs": 0},
            "Setting 'epochs' of the search: Input should be greater than or equal to 1.",
        ),
        ({"epoch": 1}, "Setting 'epoch' of the search: there is no such setting."),
        (
            {"cost": "nothing"},
            "Setting 'cost' of the search: Unknown cost 'nothing': choose one of flops.",
        ),
        (
            {"cost": "flop"},
            "Setting 'cost' of the search: Unknown cost 'flop': choose one of flops."
            " Did you mean 'flops'?",
        ),
        ({"epochs": 7}, "The settings of the search do not fit: seven epochs need no cost."),
    ],
)
def test_a_wrong_setting_is_said_in_one_sentence(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UsageError) as caught:
        validated(Settings, settings, "the search")
    assert str(caught.value) == sentence


def test_right_settings_become_the_model() -> None:
    assert validated(Settings, {"epochs": 2}, "the search").epochs == 2
