"""``skrd4ad serve-key``, and ``serve`` where a key is needed and there is none."""

from collections.abc import Callable
from typing import Any

from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.services.api_keys import actor_of_key

Run = Callable[..., tuple[int, Any]]


def test_the_commands_list_make_and_remove_keys_and_refuse_an_open_address_without_one(
    as_json: Run, info: ModelInfo
) -> None:
    for refused in (["--address", "0.0.0.0"], ["--need-key"]):
        code, document = as_json("serve", "--model", info.folder, *refused)
        assert code == 2 and "skrd4ad serve-key NAME ROLE" in document["error"]
    code, made = as_json("serve-key", "line-3")
    assert code == 0 and [(each["name"], each["role"]) for each in made["keys"]] == [("line-3", "inspector")]
    assert actor_of_key(made["key"]) is not None
    assert as_json("serve-key")[1] == {**made, "key": None}
    assert as_json("serve-key", "--remove")[0] == 2
    assert as_json("serve-key", "line-3", "--remove")[1]["keys"] == []
