"""What an entry of models.yaml may say."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.policy.models import load_models


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"revision": "main"}, r"Qwen2\.5-7B\.revision: .*pattern.*, found 'main'"),
        ({"layer": 28}, r"Qwen2\.5-7B\.layer: unknown key; did you mean 'layers'"),
        ({"heads": 0}, r"Qwen2\.5-7B\.heads: .*greater than or equal to 1, found 0"),
        ({"heads": "28"}, r"Qwen2\.5-7B\.heads: .*integer, found '28'"),
        ({"repository": "Qwen2.5-7B"}, r"Qwen2\.5-7B\.repository: .*pattern"),
    ],
)
def test_a_model_that_cannot_be_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    path = tmp_path / "models.yaml"
    entry = load_models()["Qwen2.5-7B"].model_dump(exclude_unset=True, exclude={"name"})
    path.write_text(yaml.safe_dump({"Qwen2.5-7B": entry}), encoding="utf-8")
    assert load_models(path) == {"Qwen2.5-7B": load_models()["Qwen2.5-7B"]}
    load_models.cache_clear()
    path.write_text(yaml.safe_dump({"Qwen2.5-7B": {**entry, **changes}}), encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        load_models(path)


def test_all_mistakes_of_all_models_are_in_one_report(tmp_path: Path) -> None:
    path = tmp_path / "models.yaml"
    entry = load_models()["Qwen2.5-7B"].model_dump(exclude_unset=True, exclude={"name", "context"})
    broken = {"one": entry, "../two": {**entry, "context": 1}, "three": 3}
    path.write_text(yaml.safe_dump(broken), encoding="utf-8")
    with pytest.raises(ValueError, match=r"one\.context: missing key") as refusal:
        load_models(path)
    assert r"../two" in str(refusal.value) and "three: " in str(refusal.value)
