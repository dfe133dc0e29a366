"""The cache of keys and values is found under every name it has, or the library is named."""

from typing import Any

import pytest
import torch
import transformers
from torch import nn
from transformers import DynamicCache

from readout_ui.errors import UserError
from readout_ui.models.blocks import bare_model
from readout_ui.models.calling import (
    arguments_by_name,
    cache_argument,
    past_length,
    returned_cache,
)
from tests.support.architectures import available, build

IDS = torch.tensor([[5, 17, 30, 41]])
NAMED = f"cannot work with transformers {transformers.__version__}"


class Renamed(nn.Module):
    """A model of a transformers to come."""

    def forward(self, input_ids: Any, memory: Any = None) -> Any:
        return input_ids, memory


@pytest.mark.parametrize("name", available())
def test_the_cache_of_every_architecture_is_found_without_a_warning(
    name: str, recwarn: pytest.WarningsRecorder, caplog: pytest.LogCaptureFixture
) -> None:
    whole = build(name)
    for model in (whole, bare_model(whole)):
        with torch.inference_mode():
            states = returned_cache(model(input_ids=IDS, use_cache=True))
            argument = cache_argument(model)
            assert past_length(model, {argument: states}) == IDS.shape[1]
            model(input_ids=IDS[:, :1], use_cache=True, **{argument: states})
    assert not [warning for warning in recwarn if "past_key_values" in str(warning.message)]
    assert "past_key_values" not in caplog.text


def test_the_older_name_is_understood_where_a_caller_uses_it() -> None:
    cache = DynamicCache()
    cache.update(torch.zeros(1, 2, 3, 8), torch.zeros(1, 2, 3, 8), 0)
    model = build("llama")
    assert past_length(model, {"past_key_values": cache}) == 3
    assert past_length(model, {"cache": cache}) == 3
    assert past_length(model, {"past_key_values": None, "input_ids": IDS}) == 0


def test_a_renamed_cache_is_an_error_that_names_the_library_never_a_length_of_0() -> None:
    with pytest.raises(UserError, match=f"Renamed takes no cache or .*{NAMED}"):
        past_length(Renamed(), {"input_ids": IDS, "memory": DynamicCache()})
    with pytest.raises(UserError, match=NAMED):
        returned_cache({"memory": DynamicCache()})
    with pytest.raises(UserError, match=f"kind tuple does not tell its length.*{NAMED}"):
        past_length(build("llama"), {"past_key_values": ((IDS, IDS),)})


def test_arguments_by_position_get_their_names() -> None:
    assert arguments_by_name(Renamed(), (1,), {"memory": 2}) == {"input_ids": 1, "memory": 2}
    assert arguments_by_name(Renamed(), (1, 2), {}) == {"input_ids": 1, "memory": 2}
