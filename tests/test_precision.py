"""Which processors are quick at bfloat16."""

from types import MappingProxyType

import pytest
import torch

from ood_core import precision


@pytest.mark.parametrize(
    ("has", "fast"),
    [
        ({"cpu_name": "Intel Xeon", "avx512_bf16": True, "amx_bf16": True}, True),
        ({"cpu_name": "Intel Xeon", "avx512_bf16": True, "amx_bf16": False}, False),
        ({"cpu_name": "AMD EPYC", "avx512_bf16": True, "amx_bf16": False}, True),
        ({"cpu_name": "AMD Ryzen", "avx512_bf16": False, "avx2": True}, False),
        ({"architecture": "aarch64", "neon": True}, False),
    ],
)
def test_which_processors_are_fast(monkeypatch, has, fast):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: MappingProxyType(has))
    assert precision.fast_bfloat16.__wrapped__() is fast
