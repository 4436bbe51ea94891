"""Rollouts by vLLM, in the trainer's own process or in one beside it.

``colocated``: one engine per training process, on the same device and in the same process, which can hold no second
one. Weights are synced in memory; on a GPU the engine sleeps during the update, which frees its memory.

``dedicated``: the engine runs in processes of its own, on GPUs that follow those of the training processes. Weights
travel in files in the machine's shared memory, a bucket at a time.

The prefix cache holds keys and values of old weights, so it is emptied after every weight sync: without that, prompts
that were seen before would be answered by a mixture of the old and the new policy.
"""

import gc
import importlib
import os
import tempfile
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, wait
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from transformers import AutoConfig, AutoTokenizer, GenerationConfig, PreTrainedTokenizerBase

from reference_impl.config import EngineOptions
from reference_impl.rollout.engine import (
    WEIGHT_SUM_MODULUS,
    Completion,
    EngineDeadError,
    GenerationRequest,
    check_sampling,
    fingerprint_of_sums,
)
from reference_impl.rollout.vllm_names import CheckpointNames
from reference_impl.rollout.weight_files import buckets, end_buckets, was_read, write_bucket
from reference_impl.text.chat import stop_ids

BUCKET_BYTES = 1 << 30
"""Weights that travel together to a dedicated engine (a larger tensor goes alone)."""
SHARED_MEMORY = Path("/dev/shm")
ENVIRONMENT = {
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_WORKER_MULTIPROC_METHOD": "spawn",
    # On a CPU: 1 GiB for keys and values, and no moving of the trainer's threads between cores.
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
}
"""vLLM's own settings, where the user's environment has none."""


class VllmEngine:
    """A `RolloutEngine` (see there) on ``vllm.LLM``.

    With ``top_p`` below 1, log-probs are those of the nucleus, which vLLM renormalises.
    """

    def __init__(
        self,
        checkpoint: Path,
        tokenizer: PreTrainedTokenizerBase,
        batch_size: int,
        dtype: torch.dtype | str,
        options: EngineOptions,
    ) -> None:
        """Start an engine that holds the weights of ``checkpoint``; up to ``batch_size`` sequences run at once.

        Raises ValueError where vLLM or the GPUs that the placement needs are missing.
        """
        self.checkpoint = checkpoint
        self.tokenizer = tokenizer
        self.batch_size = batch_size
        # vLLM's own "auto" halves float32; here it is the checkpoint's precision, as with transformers.
        self.dtype = (AutoConfig.from_pretrained(checkpoint).dtype or dtype) if dtype == "auto" else dtype
        self.options = options
        self.stop_ids = stop_ids(tokenizer, eos_of(checkpoint))
        self.names = CheckpointNames(checkpoint)
        self._vllm = import_vllm()
        self._asleep = self._dead = self._weightless = False
        # vLLM would join training's process group, and end it with itself.
        self._shares_group = options.placement == "colocated" and torch.distributed.is_initialized()
        self._llm: Any = self._start()

    @classmethod
    def from_checkpoint(
        cls, checkpoint: Path, batch_size: int, dtype: torch.dtype | str, options: EngineOptions
    ) -> "tuple[VllmEngine, PreTrainedTokenizerBase]":
        """Start from a checkpoint folder. Raises ValueError for a folder that is none, and as the constructor does."""
        if not (checkpoint / "config.json").is_file():
            raise ValueError(f"{checkpoint} is not a checkpoint folder: it has no config.json")
        tokenizer = AutoTokenizer.from_pretrained(checkpoint)
        return cls(checkpoint, tokenizer, batch_size, dtype, options), tokenizer

    def generate(
        self, requests: Sequence[GenerationRequest], *, max_tokens: int, temperature: float = 1.0, top_p: float = 1.0
    ) -> list[Completion]:
        """See :class:`~reference_impl.rollout.engine.RolloutEngine`.

        A response ends with the engine's context, too, and is truncated then. Raises ValueError for a bad sampling
        setting or a prompt as long as the context, and EngineDeadError where the engine fails.
        """
        prompts, settings = self._asked(requests, max_tokens, temperature, top_p)
        with self._alive("sampling"):
            self._wake()
            outputs = self._watched(lambda: self._llm.generate(prompts, settings, use_tqdm=False))
        return [self._completion(output.outputs[0]) for output in outputs]

    def as_they_end(
        self, requests: Sequence[GenerationRequest], *, max_tokens: int, temperature: float = 1.0, top_p: float = 1.0
    ) -> Generator[tuple[int, Completion], None, None]:
        """See :class:`~reference_impl.rollout.engine.ContinuousEngine`. All requests are vLLM's at once: its queue
        fills what a response that ends leaves free. Raises as `generate`.
        """
        prompts, settings = self._asked(requests, max_tokens, temperature, top_p)
        with self._alive("sampling"):
            self._wake()
            names = self._watched(lambda: self._llm.enqueue(prompts, settings, use_tqdm=False))
        # vLLM adds a random part to a request's name, and leaves it out of the output's.
        left = {name.partition("-")[0]: (place, name) for place, name in enumerate(names)}
        engine = self._llm.llm_engine
        try:
            while left:
                with self._alive("sampling"):
                    ended = [output for output in self._watched(engine.step) if output.finished]
                    found = [(left.pop(output.request_id)[0], output.outputs[0]) for output in ended]
                for place, output in found:
                    yield place, self._completion(output)
        finally:
            if left and not self._dead:  # who asked has stopped: the next call must not get these
                engine.abort_request([name for _, name in left.values()], internal=True)

    def _asked(
        self, requests: Sequence[GenerationRequest], max_tokens: int, temperature: float, top_p: float
    ) -> tuple[list[dict[str, list[int]]], list[Any]]:
        """vLLM's prompts and sampling parameters."""
        check_sampling(max_tokens, temperature, top_p)
        if self._weightless:
            raise RuntimeError("the engine was promised weights when it went to sleep, and has got none")
        longest = max((len(request.prompt_ids) for request in requests), default=0)
        with self._alive("sampling"):
            limit = self._llm.llm_engine.model_config.max_model_len
        if longest >= limit:
            raise ValueError(f"a prompt of {longest} tokens leaves no place for a response: max_model_len is {limit}")
        settings = [
            self._vllm.SamplingParams(
                temperature=temperature,
                top_p=top_p,
                max_tokens=min(max_tokens, limit - len(request.prompt_ids)),
                seed=request.seed,
                stop_token_ids=self.stop_ids,
                ignore_eos=True,  # stop_token_ids says it all
                logprobs=0,
                detokenize=False,
            )
            for request in requests
        ]
        return [{"prompt_token_ids": list(request.prompt_ids)} for request in requests], settings

    def update_weights(self, state: Mapping[str, Tensor]) -> None:
        """Replace the weights by ``state``, and forget all cached prefixes.

        Weights are read one by one and used one by one (a layer, or a bucket, at a time), so those that are
        gathered meanwhile need never be held all at once. Raises EngineDeadError where vLLM refuses them: they
        may be half loaded then.
        """
        tensors = self.names.parts(state)
        with self._alive("loading weights"):
            self._wake()
            if self.options.placement == "colocated":
                self._llm.collective_rpc("load_checkpoint_tensors", args=(tensors,))
            else:
                self._sync_through_files(tensors)
            if not self._watched(self._llm.reset_prefix_cache):
                raise RuntimeError("vLLM did not empty its prefix cache")
        self._weightless = False

    def fingerprint(self) -> str:
        """Fingerprint of the weights in the engine's workers, equal to that of the state they were loaded from."""
        with self._alive("reading its weights"):
            self._wake()
            workers = self._watched(lambda: self._llm.collective_rpc("held_weight_sums"))
        total: dict[str, tuple[int, int]] = {}
        for sums in workers:
            for part, (first, second) in sums.items():
                name = self.names.whole(part)
                before = total.get(name, (0, 0))
                total[name] = ((before[0] + first) % WEIGHT_SUM_MODULUS, (before[1] + second) % WEIGHT_SUM_MODULUS)
        return fingerprint_of_sums(total)

    def sleep(self, *, weights_follow: bool = False) -> None:
        """Free a colocated engine's GPU memory until it is used again; elsewhere nothing happens.

        Level 1 keeps the weights in main memory, pinned: 27 GiB of a 7B model's on every rank. Level 2 forgets them.
        """
        if self._can_sleep() and not self._asleep:
            with self._alive("going to sleep"):
                self._llm.sleep(level=2 if weights_follow else 1)
            self._asleep, self._weightless = True, weights_follow

    def restart(self) -> None:
        """A new engine in the place of this one, after EngineDeadError. It holds the checkpoint's weights.

        Raises EngineDeadError where the engine shares its processes' group with training, which would end too.
        """
        if self._shares_group:
            raise EngineDeadError(
                f"the vLLM engine of {self.checkpoint} cannot start again inside a group of training processes: "
                "start the run again, which resumes from its last checkpoint"
            )
        self.close()
        try:
            self._llm = self._start()
        except Exception as error:
            raise EngineDeadError(
                f"the vLLM engine of {self.checkpoint} does not start again: {type(error).__name__}: {error}"
            ) from error

    def close(self) -> None:
        """End the engine and its processes."""
        llm, self._llm = self._llm, None
        if llm is not None:
            llm.llm_engine.engine_core.shutdown()
        del llm
        self._asleep = self._dead = self._weightless = False
        gc.collect()
        torch.cuda.empty_cache()  # does nothing where no GPU was used

    def _start(self) -> Any:
        options = self.options
        for name, value in ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "1" if options.placement == "dedicated" else "0"
        # Another engine in this process, before this one, froze vLLM's view of the environment.
        importlib.import_module("vllm.envs").disable_envs_cache()
        launched = self._shares_group and torch.distributed.get_world_size() > 1
        with visible_devices(dedicated_devices(options) if options.placement == "dedicated" else None):
            return self._vllm.LLM(
                str(self.checkpoint),
                hf_overrides={"architectures": self.names.architectures},
                dtype=self.dtype,
                skip_tokenizer_init=True,
                generation_config="vllm",  # no sampling defaults from the checkpoint
                logprobs_mode="processed_logprobs",  # under the temperature
                max_num_seqs=self.batch_size,
                max_model_len=options.max_model_len,
                gpu_memory_utilization=options.gpu_memory_utilization,
                tensor_parallel_size=options.tensor_parallel_size,
                enforce_eager=options.enforce_eager or not torch.cuda.is_available(),
                enable_sleep_mode=self._can_sleep(),
                # One engine in each process of training's group, in the place of one engine over a group of its own.
                distributed_executor_backend="external_launcher" if launched else None,
                worker_extension_cls="reference_impl.rollout.vllm_worker.WorkerExtension",
            )

    def _can_sleep(self) -> bool:
        return self.options.sleep and self.options.placement == "colocated" and torch.cuda.is_available()

    def _wake(self) -> None:
        if self._asleep:
            self._llm.wake_up()
            self._asleep = False

    @contextmanager
    def _alive(self, doing: str) -> Iterator[None]:
        """Turn whatever stops the engine into EngineDeadError."""
        if self._llm is None or self._dead:
            raise EngineDeadError(f"the vLLM engine of {self.checkpoint} is not running")
        try:
            yield
        except Exception as error:
            self._dead = True
            raise EngineDeadError(
                f"the vLLM engine of {self.checkpoint} failed while {doing}: {type(error).__name__}: {error}"
            ) from error

    def _sync_through_files(self, tensors: Iterable[tuple[str, Tensor]]) -> None:
        """Give a dedicated engine's workers the tensors, of which two buckets at most lie in shared memory."""
        with tempfile.TemporaryDirectory(dir=SHARED_MEMORY if SHARED_MEMORY.is_dir() else None) as name:
            folder = Path(name)
            loading = self._begun(lambda: self._llm.collective_rpc("load_weight_files", args=(name,)))
            for number, bucket in enumerate(buckets(tensors, BUCKET_BYTES)):
                write_bucket(folder, number, bucket)
                while number > 0 and not was_read(folder, number - 1, self.options.tensor_parallel_size):
                    self._check_running(loading)
            end_buckets(folder)
            self._finished(loading)

    def _watched(self, call: Callable[[], Any]) -> Any:
        """The call's result; vLLM itself waits for ever where a dedicated engine's process is killed meanwhile."""
        return call() if self.options.placement == "colocated" else self._finished(self._begun(call))

    def _begun(self, call: Callable[[], Any]) -> "Future[Any]":
        """The call, running in a thread of its own."""
        result: Future[Any] = Future()

        def work() -> None:
            try:
                result.set_result(call())
            except Exception as error:  # noqa: BLE001 (it is raised where the result is asked for)
                result.set_exception(error)

        Thread(target=work, daemon=True).start()
        return result

    def _finished(self, call: "Future[Any]") -> Any:
        """A call's result. Raises RuntimeError where the engine's process ends before it."""
        while not wait([call], timeout=1).done:
            self._check_alive()
        return call.result()

    def _check_running(self, call: "Future[Any]") -> None:
        """A pause while a call runs. Raises RuntimeError where it, or the engine's process, ends meanwhile."""
        if wait([call], timeout=0.01).done:
            call.result()
            raise RuntimeError("the engine stopped reading its weights")
        self._check_alive()

    def _check_alive(self) -> None:
        processes = self._llm.llm_engine.engine_core.resources.engine_manager.processes
        if not all(process.is_alive() for process in processes):
            raise RuntimeError("its process has ended")

    def _completion(self, output: Any) -> Completion:
        token_ids = list(output.token_ids)
        logprobs = tuple(found[token].logprob for token, found in zip(token_ids, output.logprobs, strict=True))
        stopped = token_ids[-1] in self.stop_ids
        text = str(self.tokenizer.decode(token_ids[:-1] if stopped else token_ids, skip_special_tokens=False))
        return Completion(tuple(token_ids), text, logprobs, truncated=not stopped)


def import_vllm() -> ModuleType:
    """The package. Raises ValueError where it is not installed."""
    try:
        return importlib.import_module("vllm")
    except ModuleNotFoundError as error:
        raise ValueError(f"engine vllm: {error}; docs/vllm.md says how to install it") from error


def eos_of(checkpoint: Path) -> int | list[int] | None:
    """The tokens that end a text, as the checkpoint says."""
    if (checkpoint / "generation_config.json").is_file():
        eos = GenerationConfig.from_pretrained(checkpoint).eos_token_id
    else:
        eos = GenerationConfig.from_model_config(AutoConfig.from_pretrained(checkpoint)).eos_token_id
    return eos


def dedicated_devices(options: EngineOptions) -> list[str] | None:
    """This process's engine's GPUs: those behind the training processes' own. None on a machine without any.

    Raises ValueError where there are too few.
    """
    if not torch.cuda.is_available():
        return None
    names = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    names = names if names != [""] else [str(i) for i in range(torch.cuda.device_count())]
    trainers, rank = int(os.environ.get("LOCAL_WORLD_SIZE", "1")), int(os.environ.get("LOCAL_RANK", "0"))
    first = trainers + rank * options.tensor_parallel_size
    chosen = names[first : first + options.tensor_parallel_size]
    if len(chosen) < options.tensor_parallel_size:
        raise ValueError(
            f"placement: dedicated needs {trainers} GPUs for training and {trainers} × "
            f"{options.tensor_parallel_size} for rollouts; this machine shows {len(names)}"
        )
    return chosen


@contextmanager
def visible_devices(names: Sequence[str] | None) -> Iterator[None]:
    """Let processes that start meanwhile see these GPUs only (None: as they are)."""
    before = os.environ.get("CUDA_VISIBLE_DEVICES")
    if names is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(names)
    try:
        yield
    finally:
        if names is not None:
            os.environ.pop("CUDA_VISIBLE_DEVICES")
            if before is not None:
                os.environ["CUDA_VISIBLE_DEVICES"] = before
