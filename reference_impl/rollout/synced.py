"""The engine as a run uses it: it holds the policy's weights whenever it samples, and is restarted once if it dies.

It samples while its caller waits (`generate`), or beside what the caller does meanwhile (`begin`, `finish`).
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from torch import Tensor

from reference_impl.rollout.engine import Completion, EngineDeadError, GenerationRequest, RolloutEngine, fingerprint
from reference_impl.strategy.distributed import world_size


class SyncedEngine:
    """A rollout engine that syncs its weights with the policy before it samples, where they are stale.

    A sampler that lags behind (`sync_every`) is marked stale less often than the policy changes.
    """

    def __init__(
        self,
        engine: RolloutEngine,
        weights: Callable[[], Mapping[str, Tensor]],
        max_tokens: int,
        temperature: float,
    ) -> None:
        """``weights`` gives the policy's current weights by name; the rest is the run's for every response."""
        self.engine = engine
        self.weights = weights
        self.max_tokens = max_tokens
        self.temperature = temperature
        self.stale = True
        self._thread = ThreadPoolExecutor(1, "rollouts")
        self._begun: Future[list[Completion]] | None = None

    def begin(self, requests: Sequence[GenerationRequest]) -> None:
        """Sample by the policy's weights of now, in a thread of its own, while the policy may be updated.

        The engine must hold weights of its own meanwhile. All ranks call it, as `generate`.
        """
        if self.stale:
            self.sync()
        self._begun = self._thread.submit(self._sample, requests)

    def finish(self) -> list[Completion] | None:
        """What `begin` was asked for, once all of it is there; None where nothing was begun.

        Raises EngineDeadError where the engine has died: the weights that it sampled from are gone, so that the run
        must go on from its last state.
        """
        begun, self._begun = self._begun, None
        return None if begun is None else begun.result()

    def begun(self) -> list[Completion] | None:
        """The same, and `finish` will give it too: for a state that is saved in between."""
        return None if self._begun is None else self._begun.result()

    def hold(self, completions: list[Completion] | None) -> None:
        """Give `finish` what an earlier process had begun."""
        if completions is not None:
            self._begun = Future()
            self._begun.set_result(completions)

    def generate(self, requests: Sequence[GenerationRequest]) -> list[Completion]:
        """One completion per request, as `RolloutEngine.generate`. All ranks call it, also those without a request:
        gathering sharded weights needs every rank.

        An engine that dies is restarted and asked once more. Where ranks share a run all of them would have to ask
        again: there `EngineDeadError` ends the run, which resumes from its last state when it is started again.
        """
        try:
            return self._generate(requests)
        except EngineDeadError as error:
            if world_size() > 1:
                raise
            print(f"{error}; starting it again", file=sys.stderr, flush=True)
        # Not above: the error's traceback holds what the dead engine held of a GPU.
        self.engine.restart()
        self.stale = True
        return self._generate(requests)

    def sleep(self, *, sync_follows: bool) -> None:
        """Free what memory the engine can until it samples again; ``sync_follows``: after a weight sync."""
        self.engine.sleep(weights_follow=sync_follows)

    def sync(self) -> None:
        """Weight sync: give the engine the policy's weights, and make sure that it has them.

        Raises RuntimeError where it has not: stale rollouts would train silently.
        """
        self._settle()
        weights = self.weights()
        self.engine.update_weights(weights)
        expected, found = fingerprint(weights), self.engine.fingerprint()
        if found != expected:
            raise RuntimeError(f"the rollout engine holds weights {found}, not the policy's {expected}")
        self.stale = False

    def _generate(self, requests: Sequence[GenerationRequest]) -> list[Completion]:
        if self.stale:
            self.sync()
        self._settle()
        return self._sample(requests)

    def _settle(self) -> None:
        """An engine does one thing at a time: wait for what it has begun."""
        if self._begun is not None:
            self._begun.result()

    def _sample(self, requests: Sequence[GenerationRequest]) -> list[Completion]:
        if not requests:
            return []
        return self.engine.generate(requests, max_tokens=self.max_tokens, temperature=self.temperature)
