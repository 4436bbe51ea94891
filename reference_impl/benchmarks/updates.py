"""An update against the bare pass over what it really has to compute: the same rows, a plain sum as the loss."""

import tempfile
from pathlib import Path

from torch.nn.functional import cross_entropy

from reference_impl.benchmarks.pairs import REPETITIONS, Line, in_turns, medians, ratios
from reference_impl.benchmarks.setting import Setting
from reference_impl.step.batching import micro_batches
from reference_impl.step.loss import StepTokens
from reference_impl.step.silent import set_silent_aside, silent_terms
from reference_impl.trainer import Trainer


def lines(setting: Setting, repetitions: int = REPETITIONS) -> list[Line]:
    """Every line of this part."""
    found: list[Line] = []
    for where, policy in (("start", setting.start), ("trained", setting.trained)):
        with tempfile.TemporaryDirectory() as folder:
            trainer = setting.trainer("chord_phi", policy, Path(folder), learning_rate=0.0)
            batch = trainer.next_prompts()
            groups, _ = trainer.advantages(batch.graded(trainer.engine.generate(batch.requests()), trainer.reward))
            sequences = [*groups, *trainer.expert_batch()]
            learning, _ = set_silent_aside(trainer.strategy.model, trainer.objective, sequences)
            rows = list(
                micro_batches(learning, trainer.config.micro_batch_tokens, 0, packed=trainer.strategy.model.dtype)
            )

            def update(trainer: Trainer = trainer, sequences: list = sequences) -> None:
                tokens = StepTokens.count(sequences)
                learning, silent = set_silent_aside(trainer.strategy.model, trainer.objective, sequences)
                terms = silent_terms(silent, tokens)
                for loss, part in trainer.losses(learning, 0.1, tokens):
                    trainer.strategy.backward(loss)
                    terms += part
                trainer.strategy.step()

            def bare(trainer: Trainer = trainer, rows: list = rows) -> None:
                model = trainer.strategy.model
                for row in rows:
                    packed = row.packed
                    logits = model(
                        input_ids=packed.ids_1L,
                        position_ids=packed.positions_1L,
                        shared_prefix=packed,
                        logits_to_keep=packed.sources_N,
                        use_cache=False,
                    ).logits[0]
                    cross_entropy(logits, row.ids_BT1[:, 1:][row.mask_BT]).backward()
                trainer.strategy.step()

            seconds = in_turns({"update": update, "bare": bare}, repetitions)
        found.append(
            Line(
                f"CHORD-φ update, policy {where}",
                "ours / forward, cross-entropy, backward and optimizer over the same rows",
                ratios(seconds["update"], seconds["bare"]),
                1.1,
                "below",
                medians(seconds),
            )
        )
    return found
