"""Numbers of channels that a device likes, from its profile."""

from __future__ import annotations

import json

from torch import nn

from ..energy import Profile

__all__ = ["round_to_of"]

#: What memory is moved in, at least: a cache line, a sector. Rows of whole lines share none with their neighbours.
_LINE_BYTES = {"cpu": 64, "gpu": 32}


def round_to_of(profile: Profile, model: nn.Module) -> int:
    """Channels to round to: columns of a systolic array, or numbers of the model's type in a line of memory. 1 where
    the profile tells of no such step."""
    data = json.loads(profile.to_json())
    if data["dataflow"] == "systolic":
        return max(1, int(data["array"]["cols"]["value"]))
    width = next((parameter.element_size() for parameter in model.parameters() if parameter.is_floating_point()), 4)
    return max(1, _LINE_BYTES.get(data["kind"], 1) // width)
