"""Every keyword that vLLM is given here is one of the GPU wheel's: what the code says, against what the wheel says.

On a CPU another build of vLLM runs, and a GPU's version may have other names: a misspelt one would be met after hours.
"""

import ast
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from reference_impl.rollout import vllm_engine
from tests.support.checkout import REPO
from tests.support.vllm_fields import FIELDS, MEMBERS, read_wheel

WHEEL = json.loads(FIELDS.read_text(encoding="utf-8"))
SOURCE = Path(vllm_engine.__file__).read_text(encoding="utf-8")


def calls(name: str) -> Iterator[ast.Call]:
    """The engine's calls of something of vLLM's with this name: `self._vllm.NAME`, `self._llm.NAME`, `engine.NAME`."""
    for node in ast.walk(ast.parse(SOURCE)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == name:
            owner = ast.unparse(node.func.value)
            if owner in ("self._vllm", "self._llm", "engine", "llm.llm_engine"):
                yield node


def keywords(name: str) -> set[str]:
    """The keywords of all these calls; none is spread out of a dictionary."""
    found = {keyword.arg for call in calls(name) for keyword in call.keywords}
    assert None not in found, f"{name} gets a dictionary, whose keys cannot be read"
    return {keyword for keyword in found if keyword}


def test_the_list_is_of_the_pinned_version() -> None:
    pins = (REPO / "requirements/gpu.txt").read_text(encoding="utf-8")
    assert f"vllm=={WHEEL['version']} " in pins, "python -m tests.support.vllm_fields WHEEL"
    assert WHEEL["wheel"].startswith(f"vllm-{WHEEL['version']}-") and len(WHEEL["sha256"]) == 64


def test_engine_arguments_are_the_wheels() -> None:
    given = keywords("LLM")
    assert {"enable_sleep_mode", "worker_extension_cls", "gpu_memory_utilization"} <= given
    # `LLM` names some itself, and passes the others on to `EngineArgs`.
    assert not given - {*WHEEL["EngineArgs"], *WHEEL["methods"]["LLM.__init__"]}
    assert not given - {*WHEEL["EngineArgs"]}, "all of them are fields of EngineArgs, too"


def test_sampling_parameters_are_the_wheels() -> None:
    given = keywords("SamplingParams")
    assert {"seed", "stop_token_ids", "logprobs"} <= given
    assert not given - {*WHEEL["SamplingParams"]}


@pytest.mark.parametrize("method", sorted(WHEEL["methods"].keys() - {"LLM.__init__"}))
def test_methods_are_the_wheels(method: str) -> None:
    known, name = WHEEL["methods"][method], method.partition(".")[2]
    assert name in SOURCE, f"{method} is not called any more: take it out of tests/support/vllm_fields.py"
    for call in calls(name):
        assert len(call.args) + len(call.keywords) <= len(known)
    assert not keywords(name) - {*known}


def test_environment_variables_are_the_wheels() -> None:
    set_here = {*vllm_engine.ENVIRONMENT, "VLLM_ENABLE_V1_MULTIPROCESSING", "VLLM_USE_V2_MODEL_RUNNER"}
    assert not set_here - {*WHEEL["environment"]}


def test_a_wheel_is_read_without_being_installed(tmp_path: Path) -> None:
    wheel = tmp_path / "vllm-1.2.3-py3-none-any.whl"
    method = "    def {}(self, a, *, b=1): ..."
    bodies = {
        "EngineArgs": "    model: str\n    seed: int = 0\n    PLAIN = 1",
        "SamplingParams": "    n: int = 1",
        "LLM": "\n".join(
            method.format(name)
            for name in ("__init__", "generate", "enqueue", "sleep", "wake_up", "collective_rpc", "reset_prefix_cache")
        ),
        "LLMEngine": "\n".join(method.format(n) for n in ("step", "abort_request")),
    }
    with zipfile.ZipFile(wheel, "w") as file:
        for name, path in MEMBERS.items():
            file.writestr(path, f"class Other: ...\nclass {name}:\n{bodies[name]}\n")
        file.writestr("vllm/envs.py", 'TABLE = {"VLLM_ONE": 1, "OTHER": 2}\n')
    found = read_wheel(wheel)
    assert (found["version"], found["EngineArgs"], found["SamplingParams"]) == ("1.2.3", ["model", "seed"], ["n"])
    assert found["methods"]["LLM.sleep"] == ["a", "b"] and found["environment"] == ["VLLM_ONE"]
    with zipfile.ZipFile(wheel, "w") as file:
        file.writestr(MEMBERS["EngineArgs"], "class Arguments: ...")
    with pytest.raises(ValueError, match="no class EngineArgs"):
        read_wheel(wheel)
