"""What a page or a command asks for: a page, a scale, how many seeds, and where to run."""

from __future__ import annotations

from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from .. import recipes
from ..checks import InputError, device


class Request(BaseModel):
    """What a page or a command asks for, checked before anything runs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    page: str
    scale: recipes.Scale = "tiny"
    seeds: int = Field(5, ge=1, le=1000)
    device: Literal["auto", "cpu", "cuda"] = "auto"
    jobs: int = Field(1, ge=1, le=256)
    compiled: bool = False

    @classmethod
    def check(cls, **values: Any) -> Request:
        """Raises `InputError` with what was got and what is allowed."""
        try:
            request = cls(**values)
        except ValidationError as error:
            lines = [f"{e['loc'][0]} is {e['input']!r}: {e['msg'][0].lower()}{e['msg'][1:]}" for e in error.errors()]
            raise InputError("\n".join(lines) + "\nExpected for example: scale tiny, seeds 5, device auto.") from None
        recipes.load(request.page, request.scale)
        device(request.device)
        return request

    @property
    def torch_device(self) -> torch.device:
        return device(self.device)
