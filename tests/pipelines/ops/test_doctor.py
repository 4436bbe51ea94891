"""The doctor's findings for machines made up here, and that it never prints a secret."""

import dataclasses
import http.server
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from pipelines.ops import doctor
from pipelines.ops.cost import load_assumptions
from pipelines.ops.doctor import ROOT, Finding, examine, read_pins
from pipelines.ops.machine import Answer, Machine, Torch, ask, driver_version, nvcc_version
from pipelines.plan import Plan, load_plan
from reference_impl.config import EngineOptions, HttpJudgeSettings
from tests.support.plans import with_domain, with_scale

GPU_PINS = read_pins(ROOT / "requirements" / "gpu.txt")
EIGHT = Torch("2.13.0", "13.0", "2.29.7", (("H100", 85.0),) * 8)
SECRET = "hf_secret"


def machine(**changes: Any) -> Machine:
    """One on which everything of the paper's scale is as it should be."""
    good = Machine(
        python=(3, 11, 9),
        environment={"HF_TOKEN": SECRET, "CHORD_JUDGE_API_KEY": "sk-secret"},
        version={**GPU_PINS, "torch": "2.13.0+cu130"}.get,
        torch=lambda: EIGHT,
        driver=lambda: "580.82.07",
        nvcc=lambda: "13.0",
        compiler=lambda: "/usr/bin/c++",
        memory_gb=lambda: 2000.0,
        open_files=lambda: 1048576,
        free_gb=lambda path: 1e6,
        ask=lambda url, token: Answer(200),
    )
    return dataclasses.replace(good, **changes)


@pytest.fixture(scope="module")
def paper() -> Plan:
    return load_plan({"scale": "paper"})


def findings(plan: Plan, **changes: Any) -> dict[str, Finding]:
    return {finding.what: finding for finding in examine(plan, machine(**changes), load_assumptions())}


def levels(found: Mapping[str, Finding]) -> dict[str, str]:
    return {what: finding.level for what, finding in found.items() if finding.level != "OK"}


TO_BE_BROUGHT = (
    "the questions of bfcl must be brought",
    "the questions of rar-medicine-rating must be brought",
    "expert.jsonl of tool needs the answers of DeepSeek-R1",
    "expert-second.jsonl of tool needs the answers of Qwen2.5-72B-Instruct",
    "expert-aligned.jsonl of tool needs the answers of DeepSeek-R1",
)
"""What scale paper has from nowhere but the user."""


def test_a_machine_as_it_should_be_has_only_files_and_revisions_to_be_given(paper: Plan) -> None:
    found = findings(paper)
    # No commit hash of these could be established.
    unpinned = ("microsoft/Phi-mini-MoE-instruct", "ScaleAI/RaR-Medicine (rar-val)", "ScaleAI/RaR-Medicine (rar)")
    assert levels(found) == dict.fromkeys([*TO_BE_BROUGHT, *(f"hub, {name}" for name in unpinned)], "WARN")
    assert "--config data='{bfcl: PATH}'" in found[TO_BE_BROUGHT[0]].found
    assert "data_options='{medicine: {revision: {rar: HASH}}}'" in found["hub, ScaleAI/RaR-Medicine (rar)"].advice
    looked_at = {"Python", "packages", "driver", "CUDA", "compilers", "GPUs", "GPU memory", "NCCL", "memory"}
    assert looked_at | {"shared memory", "open files", "disk", "hub, HuggingFaceH4/aime_2024"} < set(found)


@pytest.mark.parametrize(
    ("changes", "what", "level", "found", "advice"),
    [
        ({"python": (3, 10, 1)}, "Python", "FAIL", "3.10.1", "3.11 or later"),
        ({"version": {**GPU_PINS, "vllm": "0.31.0"}.get}, "packages", "WARN", "vllm 0.31.0 (pinned 0.32.0)", "gpu.txt"),
        ({"version": lambda name: None}, "packages", "FAIL", "missing: torch, vllm,", "environment.md"),
        ({"driver": lambda: None}, "driver", "FAIL", "nvidia-smi", "not the login node"),
        ({"driver": lambda: "570.1"}, "driver", "FAIL", "570.1 is too old for CUDA 13.0", "driver 580 or later"),
        ({"nvcc": lambda: "12.4"}, "compilers", "WARN", "nvcc 12.4 for CUDA 13.0", "set CUDA_HOME to CUDA 13.0"),
        ({"nvcc": lambda: None}, "compilers", "WARN", "nvcc missing", "activate the conda environment"),
        ({"compiler": lambda: None}, "compilers", "WARN", "C++ compiler missing", "and CXX"),
        ({"memory_gb": lambda: 128.0}, "memory", "WARN", "128 GB, a run asks for 320", "resources.train.mem_mb"),
        ({"open_files": lambda: 4096}, "open files", "WARN", "4096 at most", "ulimit -Hn"),
        ({"free_gb": lambda path: 0.064}, "shared memory", "FAIL", "0.1 GB free, 2.2 needed", "--shm-size"),
        (
            {
                "torch": lambda: dataclasses.replace(EIGHT, gpus=()),
                "environment": {"CUDA_VISIBLE_DEVICES": ""},
            },
            "GPUs",
            "FAIL",
            "0 usable (none, CUDA_VISIBLE_DEVICES=)",
            "needs 2",
        ),
        ({"torch": lambda: None}, "CUDA", "FAIL", "cannot be imported", "environment.yml"),
        ({"torch": lambda: Torch("2.13.0+cpu", None, None, ())}, "CUDA", "FAIL", "2.13.0+cpu has no CUDA", "conda env"),
        (
            {"torch": lambda: dataclasses.replace(EIGHT, gpus=EIGHT.gpus[:1])},
            "GPUs",
            "FAIL",
            "1 usable (H100 85 GB)",
            "needs 2 on one machine",
        ),
        (
            {"torch": lambda: dataclasses.replace(EIGHT, gpus=(*EIGHT.gpus[:7], ("A100", 42.0)))},
            "GPU memory",
            "FAIL",
            "42 GB, estimated need 62 GB",
            "zero_stage",
        ),
        ({"torch": lambda: dataclasses.replace(EIGHT, nccl=None)}, "NCCL", "FAIL", "none", "environment.yml"),
        ({"free_gb": lambda path: 10.0}, "disk", "FAIL", "10 GB free", "make room"),
    ],
)
def test_what_is_wrong_is_found_and_what_to_do_is_said(
    paper: Plan, changes: dict[str, Any], what: str, level: str, found: str, advice: str
) -> None:
    finding = findings(paper, **changes)[what]
    assert finding.level == level
    assert found in finding.found and advice in finding.advice


@pytest.mark.parametrize(
    ("answer", "level", "said"),
    [
        (Answer(302), "OK", "revision 0cb88a4f764b is there"),
        (Answer(401), "FAIL", "accept its licence and set HF_TOKEN"),
        (Answer(403), "FAIL", "the token has no access"),
        (Answer(404), "FAIL", "revision 0cb88a4f764b7a12671c53f0838cd831a0843b95 is not there"),
        (Answer(503), "WARN", "try again later"),
    ],
)
def test_the_hub_is_asked_for_every_model_at_its_revision(paper: Plan, answer: Answer, level: str, said: str) -> None:
    asked: list[tuple[str, str | None]] = []

    def answering(url: str, token: str | None) -> Answer:
        asked.append((url, token))
        return answer if "huggingface" in url else Answer(200)

    finding = findings(paper, ask=answering)["hub, meta-llama/Llama-3.2-3B-Instruct"]
    assert finding.level == level and said in str(finding)
    revision = "0cb88a4f764b7a12671c53f0838cd831a0843b95"
    address = f"https://huggingface.co/meta-llama/Llama-3.2-3B-Instruct/resolve/{revision}/config.json"
    assert (address, SECRET) in asked
    revision = "2fe88a2f1091d5048c0f36abc874fb997b3dd99a"
    assert (f"https://huggingface.co/api/datasets/HuggingFaceH4/aime_2024/revision/{revision}", SECRET) in asked


def test_the_hub_is_asked_for_the_training_data_that_is_not_the_users(paper: Plan) -> None:
    asked: list[str] = []

    def answering(url: str, token: str | None) -> Answer:
        asked.append(url)
        return Answer(404 if "open-r1" in url else 200)

    finding = findings(paper, ask=answering)["hub, open-r1/OpenR1-Math-220k (openr1)"]
    revision = "e4e141ec9dea9f8326f4d347be56105859b2bd68"
    assert f"https://huggingface.co/api/datasets/open-r1/OpenR1-Math-220k/revision/{revision}" in asked
    assert finding.level == "FAIL" and "--local openr1=PATH" in finding.advice
    own = {"math": {"local": {"openr1": "here.parquet"}}, "medicine": {"revision": {"rar": "0" * 40}}}
    asked.clear()
    found = findings(load_plan({"scale": "paper", "data_options": own}), ask=answering)
    assert not [url for url in asked if "open-r1" in url]
    assert found["hub, ScaleAI/RaR-Medicine (rar)"].level == "OK"


def test_a_stage_that_cannot_be_imported_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pipelines.data.openr1_math", None)
    with pytest.raises(SystemExit, match=r"error: .*openr1_math.*environment\.yml"):
        doctor.main(["--scale", "paper"], machine())


def test_a_hub_that_cannot_be_reached_is_asked_once(paper: Plan) -> None:
    asked: list[str] = []

    def silent(url: str, token: str | None) -> Answer:
        asked.append(url)
        return Answer(None, "TimeoutError")

    found = findings(paper, ask=silent, environment={"HF_ENDPOINT": "https://mirror.example/"})
    assert found["hub"].level == "WARN" and "cannot be reached (TimeoutError)" in found["hub"].found
    assert [url.startswith("https://mirror.example/") for url in asked] == [True, False]  # the other one is the judge's


@pytest.mark.parametrize("value", ["1", "true"])
def test_offline_nothing_is_asked_of_the_hub(paper: Plan, value: str) -> None:
    def answering(url: str, token: str | None) -> Answer:
        assert "huggingface" not in url
        return Answer(200)

    found = findings(paper, ask=answering, environment={"HF_HUB_OFFLINE": value})
    assert found["hub"].level == "WARN" and "HF_HUB_OFFLINE" in found["hub"].found
    assert "--config policies='{Qwen2.5-7B-Instruct: FOLDER}'" in found["hub"].advice


def test_the_token_is_where_the_hubs_client_looks_for_it(tmp_path: Path) -> None:
    assert machine().token() == SECRET
    assert machine(environment={}).token() is None
    folder = tmp_path / ".cache" / "huggingface"
    folder.mkdir(parents=True)
    (folder / "token").write_text("hf_file\n", encoding="utf-8")
    for environment in ({"HOME": str(tmp_path)}, {"HF_HOME": str(folder)}, {"HF_TOKEN_PATH": str(folder / "token")}):
        assert machine(environment=environment).token() == "hf_file"
    assert machine(environment={"HOME": str(tmp_path), "HF_TOKEN": SECRET}).token() == SECRET


def test_dedicated_engines_need_gpus_and_shared_memory_of_their_own(paper: Plan) -> None:
    dedicated = with_scale(
        paper,
        engine_options=EngineOptions(placement="dedicated", tensor_parallel_size=2),
        strategy=paper.choice.scale.strategy.model_copy(update={"processes": 4}),
    )
    found = findings(dedicated, free_gb=lambda path: 4.0)
    # 4 processes and 4 engines of 2 GPUs each, where the scale asks for 2 GPUs; 4 · 2.2 GB at once.
    assert found["placement"].level == "FAIL" and "need 12 GPUs" in found["placement"].found
    assert found["shared memory"].level == "FAIL" and "4.0 GB free, 8.8 needed" in found["shared memory"].found


def test_a_run_on_several_machines_is_no_mistake(paper: Plan) -> None:
    """The recipe of docs/cluster.md: 16 processes, of which each of two machines has 8."""
    strategy = paper.choice.scale.strategy.model_copy(update={"processes": 16})
    launcher = {"train": "bash profiles/slurm/torchrun_nodes.sh {processes} -m --"}
    train = paper.choice.scale.resources["train"].model_copy(update={"gpu": 8})
    resources = {**paper.choice.scale.resources, "train": train}
    finding = findings(with_scale(paper, strategy=strategy, launcher=launcher, resources=resources))["placement"]
    assert finding.level == "WARN" and "need 16 GPUs, resources.train.gpu is 8" in finding.found
    assert "several machines, of which each has 8" in finding.advice
    assert findings(with_scale(paper, strategy=strategy))["placement"].level == "FAIL"


def test_without_a_token_the_refusal_says_so(paper: Plan) -> None:
    found = findings(paper, environment={}, ask=lambda url, token: Answer(401))
    assert "refused (401), without a token" in str(found["hub, meta-llama/Llama-3.2-3B-Instruct"])


@pytest.mark.parametrize(
    ("answer", "level", "said"),
    [
        (Answer(None, "ConnectionRefusedError"), "FAIL", "cannot be reached (ConnectionRefusedError)"),
        (Answer(401), "FAIL", "set CHORD_JUDGE_API_KEY"),
        (Answer(405), "OK", "answers"),  # a server without HEAD is a server
    ],
)
def test_the_judge_is_asked_whether_it_is_there(paper: Plan, answer: Answer, level: str, said: str) -> None:
    found = findings(paper, ask=lambda url, token: answer if url == "http://localhost:8000/v1/models" else Answer(200))
    assert found["judge of medicine"].level == level and said in str(found["judge of medicine"])


@pytest.mark.parametrize(
    ("url", "sent"),
    [
        ("https://host/v1", "sk-secret"),
        ("http://localhost:8000/v1", "sk-secret"),
        ("http://127.0.0.1:8000/v1", "sk-secret"),
        ("http://[::1]:8000/v1", "sk-secret"),
        ("http://host:8000/v1", None),
        ("http://localhost.host/v1", None),
    ],
)
def test_the_judges_key_never_goes_out_unencrypted(paper: Plan, url: str, sent: str | None) -> None:
    asked: dict[str, str | None] = {}

    def answering(url: str, token: str | None) -> Answer:
        asked[url] = token
        return Answer(200)

    plan = with_domain(paper, "medicine", judge=HttpJudgeSettings(kind="http", url=url, model="m"))
    finding = findings(plan, ask=answering)["judge of medicine"]
    assert asked.get(f"{url}/models") == sent and "sk-secret" not in str(finding)
    assert finding.level == ("FAIL" if sent is None else "OK")
    assert sent is not None or "unset CHORD_JUDGE_API_KEY" in finding.advice
    without = findings(plan, ask=answering, environment={})["judge of medicine"]
    assert without.level == "OK" and asked[f"{url}/models"] is None


def test_a_scale_without_gpus_needs_neither_them_nor_the_hub() -> None:
    pins = {**read_pins(ROOT / "requirements" / "torch.txt"), **read_pins(ROOT / "requirements" / "base.txt")}

    def refuse(*_: Any) -> Any:
        raise AssertionError("not to be inspected")

    asked = dict.fromkeys(("torch", "driver", "nvcc", "compiler", "memory_gb", "open_files", "ask"), refuse)
    found = findings(load_plan({"scale": "mini"}), version=pins.get, **asked)
    assert set(found) == {"Python", "packages", "disk"} and not levels(found)


def test_the_exit_code_is_one_for_a_fail_only(capsys: pytest.CaptureFixture[str]) -> None:
    doctor.main(["--scale", "paper"], machine())
    assert "scale paper: 0 FAIL, 8 WARN" in capsys.readouterr().out
    with pytest.raises(SystemExit) as end:
        doctor.main(["--scale", "paper"], machine(driver=lambda: None))
    assert end.value.code == 1
    printed = capsys.readouterr().out
    assert "FAIL  driver: nvidia-smi answers nothing\n      → install NVIDIA's driver" in printed
    with pytest.raises(SystemExit, match="did you mean 'paper'"):
        doctor.main(["--scale", "papr"], machine())


@pytest.mark.parametrize("answer", [Answer(200), Answer(401), Answer(404), Answer(None, "TimeoutError")])
def test_no_secret_is_printed(paper: Plan, answer: Answer) -> None:
    judge = HttpJudgeSettings(kind="http", url="https://me:password@host:8443/v1?key=sesame", model="m")
    found = findings(with_domain(paper, "medicine", judge=judge), ask=lambda url, token: answer)
    printed = "\n".join(map(str, found.values()))
    assert "https://host:8443/v1" in printed
    for secret in (SECRET, "sk-secret", "password", "sesame"):
        assert secret not in printed


# ---- Asking


@pytest.fixture
def server() -> Iterator[str]:
    """Answers /<status> with that status; a redirect leads to /stolen, which must not be asked."""
    seen: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            seen.append(self.path)
            status = 200 if self.path == "/secret" and self.headers["Authorization"] == "Bearer t" else 0
            self.send_response(status or int(self.path[1:]) if self.path[1:].isdigit() else status or 401)
            self.send_header("Location", "/stolen")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    service = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=service.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{service.server_address[1]}"
    service.shutdown()
    service.server_close()
    assert "/stolen" not in seen


def test_a_question_is_answered_by_its_status(server: str) -> None:
    assert [ask(f"{server}/{status}", None).status for status in (200, 302, 401, 404, 503)] == [200, 302, 401, 404, 503]
    assert ask(f"{server}/secret", "t") == Answer(200)
    assert ask(f"{server}/secret", None) == Answer(401)
    assert ask(f"{server.replace('//', '//me:password@')}/200", "t") == Answer(None, "credentials in the address")


@pytest.mark.parametrize("url", ["no address", "http://[x", "gopher://host/"])
def test_what_cannot_be_asked_is_no_crash(url: str) -> None:
    answer = ask(url, SECRET)
    assert answer.status is None and answer.problem
    assert url not in answer.problem


@pytest.mark.parametrize(
    ("token", "proxy", "problem"),
    [
        (SECRET, "", "ConnectionRefusedError"),
        ("hf_\u00e9", "", "UnicodeEncodeError"),
        (SECRET, "socks5://127.0.0.1:9", "ModuleNotFoundError"),
        (SECRET, "gopher://127.0.0.1:9", "ValueError"),
        (SECRET, "http://127.0.0.1:9", "ConnectionRefusedError"),
    ],
)
def test_what_hinders_asking_is_named(token: str, proxy: str, problem: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "socksio", None)  # httpx's support of SOCKS, not among our packages
    monkeypatch.setenv("http_proxy", proxy)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    assert ask("http://127.0.0.1:9/x", token) == Answer(None, problem)


def test_pins_are_read_without_their_comments(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    path.write_text("# head\ntorch==2.13.0  # why\n\nnumpy==2.3.5\n", encoding="utf-8")
    assert read_pins(path) == {"torch": "2.13.0", "numpy": "2.3.5"}


def command(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    (folder / name).chmod(0o755)


def test_versions_are_read_from_what_commands_print(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CUDA_HOME", raising=False)
    assert driver_version() is None and nvcc_version() is None
    command(tmp_path, "nvidia-smi", "echo 580.82.07; echo 580.82.07")
    command(tmp_path, "nvcc", "echo 'Cuda compilation tools, release 13.0, V13.0.88'")
    assert (driver_version(), nvcc_version()) == ("580.82.07", "13.0")
    monkeypatch.setenv("CUDA_HOME", str(tmp_path / "none"))
    assert nvcc_version() is None  # FlashInfer takes CUDA_HOME's, whatever is on the PATH
    command(tmp_path, "nvidia-smi", "echo 'NVIDIA-SMI has failed'; exit 9")
    assert driver_version() is None
