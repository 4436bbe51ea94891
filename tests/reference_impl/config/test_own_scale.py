"""A scale in a file of the user's own, and the models that it names."""

import shutil
from pathlib import Path

import pytest

from pipelines.plan import load_plan
from pipelines.policy import from_hub
from pipelines.policy.models import read_model
from pipelines.sandbox.policies import SHIPPED
from reference_impl.config import CONFIG_DIR, load_scale

SMOKE = (CONFIG_DIR / "scales" / "smoke.yaml").read_text(encoding="utf-8")


def test_a_scale_is_found_by_the_path_of_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_scale.yaml").write_text(SMOKE, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    scale = load_scale("my_scale.yaml")
    assert (scale.name, scale.asked_as) == ("my_scale", "my_scale.yaml")
    assert load_scale("smoke").asked_as == "smoke"
    same = {"name", "file"}
    assert scale.model_dump(exclude=same) == load_scale("smoke").model_dump(exclude=same)
    plan = load_plan({"scale": "my_scale.yaml", "mine": ""})
    assert plan.files.results == "results/my_scale"


def test_paths_that_are_no_scale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"scale: no such file: smok\.yaml; did you mean 'smoke'\?"):
        load_scale("smok.yaml")
    for name in ("smoke.yaml", "my scale.yaml"):
        Path(name).write_text(SMOKE, encoding="utf-8")
        with pytest.raises(ValueError, match=r"its results would be in results/.*: call the file otherwise"):
            load_scale(name)
    Path("my.yaml").write_text(SMOKE.replace("engine:", "engin:"), encoding="utf-8")
    with pytest.raises(ValueError, match=r"my\.yaml: engin: unknown key; did you mean 'engine'"):
        load_scale("my.yaml")


def test_a_model_of_one_s_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(SHIPPED / "sandbox-math", "my_model")
    assert "sandbox-math" in SMOKE
    text = SMOKE.replace("main: sandbox-math,", "main: my-model,")
    Path("my.yaml").write_text(text + "models: {my-model: my_model}\n", encoding="utf-8")
    plan = load_plan({"scale": "my.yaml", "mine": ""})
    assert plan.choice.hub_policies == ["my-model"]
    assert plan.options.policy("my-model") == ["--local", "my_model"]
    from_hub.main(["--model", "my-model", "--local", "my_model", "--out", "out"])
    assert Path("out/manifest.json").is_file() and Path("out/chat_template.jinja").is_file()
    with pytest.raises(SystemExit, match="unknown model 'my-model'"):
        from_hub.main(["--model", "my-model", "--out", "out"])
    Path("my_model/tokenizer.json").unlink()
    Path("my_model/tokenizer_config.json").unlink()
    with pytest.raises(SystemExit, match="my_model has no tokenizer"):
        from_hub.main(["--model", "my-model", "--local", "my_model", "--out", "out"])
    with pytest.raises(ValueError, match=r"policies\.my-model: 'my_model' has no tokenizer"):
        load_plan({"scale": "my.yaml", "mine": ""})
    Path("my.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match="unknown policy 'my-model'"):
        load_plan({"scale": "my.yaml", "mine": ""})
    Path("my.yaml").write_text(text + "models: {my-model: nowhere}\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"policies\.my-model: 'nowhere' is neither"):
        load_plan({"scale": "my.yaml", "mine": ""})


def test_the_shape_of_a_model_is_read_from_its_folder(tmp_path: Path) -> None:
    model = read_model("mine", SHIPPED / "sandbox-math")
    assert (model.experts, model.vocabulary) == (1, 669)
    embeddings, width = model.vocabulary * model.hidden_size, model.hidden_size
    attention = 2 * width * model.heads * model.head_dim + 2 * width * model.kv_heads * model.head_dim
    biases = (model.heads + 2 * model.kv_heads) * model.head_dim
    layer = attention + biases + 3 * width * model.intermediate_size + 2 * width
    assert model.parameters == embeddings + model.layers * layer + width
    (tmp_path / "config.json").write_text('{"num_attention_heads": 2}', encoding="utf-8")
    with pytest.raises(ValueError, match="no 'hidden_size': its size cannot be estimated"):
        read_model("mine", tmp_path)
