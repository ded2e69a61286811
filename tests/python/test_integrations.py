"""Callbacks of Lightning and Hugging Face's Trainer, and TensorBoard: the real packages, where they are installed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import jouleprune as jp

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]  # the packages warn of each other

P = "eyeriss-65nm"
SCHEDULE = jp.PolynomialDecay(begin_step=1, end_step=6, frequency=2)


def pruned_weights_are_zero(model: nn.Module, pruner: jp.Pruner) -> bool:
    found = []
    for name, bits in pruner.plan.masks.items():
        weight = model.get_parameter(name).detach()
        removed = ~jp.ops.unpack_mask(bits, weight.shape)
        found.append(bool(removed.any()) and not bool(weight[removed].any()))
    return bool(found) and all(found)


def masks_of(pruner: jp.Pruner) -> dict[str, Tensor]:
    return {name: bits.clone() for name, bits in pruner.plan.masks.items()}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


class TestLightning:
    @pytest.fixture
    def parts(self):
        lightning = pytest.importorskip("lightning.pytorch")
        from jouleprune.integrations.lightning import PrunerCallback

        class Net(lightning.LightningModule):
            def __init__(self) -> None:
                super().__init__()
                torch.manual_seed(0)
                self.body = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 4))

            def forward(self, x: Tensor) -> Tensor:
                return self.body(x)

            def training_step(self, batch: list[Tensor], _: int) -> Tensor:
                return nn.functional.cross_entropy(self(batch[0]), batch[1])

            def configure_optimizers(self) -> torch.optim.Optimizer:
                return torch.optim.Adam(self.parameters(), lr=1e-2)

        def trainer(folder: Path, epochs: int, callback: object, **options) -> object:
            return lightning.Trainer(
                max_epochs=epochs, callbacks=[callback], default_root_dir=folder, accelerator="cpu", logger=False,
                enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False, **options,
            )  # fmt: skip

        def callback(**options) -> PrunerCallback:
            given = {"energy": "30%", "profile": P, "schedule": SCHEDULE, **options}
            return PrunerCallback(torch.zeros(1, 20), **given)

        generator = torch.Generator().manual_seed(1)
        x, y = torch.randn(64, 20, generator=generator), torch.randint(4, (64,), generator=generator)
        loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), batch_size=16)
        return Net, trainer, callback, loader

    def test_the_budget_holds_and_a_checkpoint_goes_on(self, parts, tmp_path):
        Net, trainer, callback, loader = parts
        whole, once = Net(), callback()
        trainer(tmp_path, 4, once).fit(whole, loader)
        assert once.pruner.done and once.pruner.energy_j <= once.pruner.budget_j
        assert pruned_weights_are_zero(whole, once.pruner)
        half, first = Net(), callback()
        fitted = trainer(tmp_path, 1, first)
        fitted.fit(half, loader)
        assert not first.pruner.done
        fitted.save_checkpoint(tmp_path / "half.ckpt")
        resumed, second = Net(), callback()
        trainer(tmp_path, 4, second).fit(resumed, loader, ckpt_path=tmp_path / "half.ckpt", weights_only=False)
        assert same(masks_of(second.pruner), masks_of(once.pruner))
        assert all(torch.equal(one, other) for one, other in zip(whole.parameters(), resumed.parameters(), strict=True))

    def test_accumulated_gradients_count_once(self, parts, tmp_path):
        Net, trainer, callback, loader = parts
        counted = callback(schedule=jp.OneShot(begin_step=1))
        trainer(tmp_path, 1, counted, accumulate_grad_batches=4).fit(Net(), loader)  # four batches, one step
        assert not counted.pruner.done
        more = callback(schedule=jp.OneShot(begin_step=1))
        trainer(tmp_path, 2, more, accumulate_grad_batches=4).fit(Net(), loader)
        assert more.pruner.done

    def test_half_precision(self, parts, tmp_path):
        Net, trainer, callback, loader = parts
        net, pruning = Net(), callback()
        trainer(tmp_path, 3, pruning, precision="bf16-mixed").fit(net, loader)
        assert pruning.pruner.done and pruned_weights_are_zero(net, pruning.pruner)

    def test_bad_arguments(self, parts):
        _, _, callback, _ = parts
        with pytest.raises(ValueError, match="pruner: made when training begins"):
            _ = callback().pruner
        with pytest.raises(TypeError, match=r"PrunerCallback: expected options among .*got 'ratio'"):
            callback(ratio=0.5)
        with pytest.raises(ValueError, match="plan: PrunerCallback decides it"):
            callback(plan=None)
        with pytest.raises(jp.BudgetError, match="energy: expected"):
            callback(energy=None)


class TestTransformers:
    @pytest.fixture
    def parts(self):
        transformers = pytest.importorskip("transformers")
        pytest.importorskip("accelerate")
        from jouleprune.integrations.transformers import PrunerCallback

        config = transformers.BertConfig(
            vocab_size=50, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
            max_position_embeddings=16, num_labels=2, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
        )  # fmt: skip
        generator = torch.Generator().manual_seed(2)
        rows = [
            {"input_ids": torch.randint(50, (8,), generator=generator), "labels": torch.tensor(i % 2)}
            for i in range(32)
        ]

        def model() -> nn.Module:
            torch.manual_seed(0)
            return transformers.BertForSequenceClassification(config)

        def trainer(folder: Path, net: nn.Module, callback: object, steps: int) -> object:
            arguments = transformers.TrainingArguments(
                output_dir=str(folder), max_steps=steps, per_device_train_batch_size=4, save_steps=3, logging_steps=2,
                report_to=[], use_cpu=True, disable_tqdm=True, learning_rate=1e-2, lr_scheduler_type="constant",
            )  # fmt: skip
            return transformers.Trainer(model=net, args=arguments, train_dataset=rows, callbacks=[callback])

        def callback(**options) -> PrunerCallback:
            given = {"energy": "60%", "profile": P, "schedule": SCHEDULE, **options}
            return PrunerCallback({"input_ids": torch.zeros(1, 8, dtype=torch.long)}, **given)

        return model, trainer, callback

    def test_the_budget_holds_and_a_checkpoint_goes_on(self, parts, tmp_path):
        model, trainer, callback = parts
        net, once = model(), callback()
        run = trainer(tmp_path / "once", net, once, 9)
        run.train()
        assert once.pruner.done and once.pruner.energy_j <= once.pruner.budget_j
        assert pruned_weights_are_zero(net, once.pruner)
        logged = [entry["energy_j"] for entry in run.state.log_history if "energy_j" in entry]
        assert logged[-1] == once.pruner.energy_j < logged[0]
        again, second = model(), callback()
        trainer(tmp_path / "once", again, second, 9).train(resume_from_checkpoint=str(tmp_path / "once/checkpoint-3"))
        assert same(masks_of(second.pruner), masks_of(once.pruner))

    def test_a_checkpoint_without_the_state_is_named(self, parts, tmp_path):
        model, trainer, callback = parts
        trainer(tmp_path, model(), callback(), 3).train()
        (tmp_path / "checkpoint-3" / "jouleprune.pt").unlink()
        with pytest.raises(ValueError, match=r"expected the pruner's state of step 3 in .*jouleprune.pt"):
            trainer(tmp_path, model(), callback(), 6).train(resume_from_checkpoint=str(tmp_path / "checkpoint-3"))


def test_tensorboard(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from torch.utils.tensorboard import SummaryWriter

    from jouleprune.integrations.tensorboard import log_pruner

    model = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 4))
    pruner = jp.Pruner(model, torch.zeros(1, 20), energy="30%", profile=P, schedule=SCHEDULE)
    writer, joules = SummaryWriter(str(tmp_path)), []
    for step in range(8):
        pruner.step()
        log_pruner(writer, pruner, step)
        joules.append(pruner.energy_j)
    writer.close()
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    scalars = [event.value for event in events.Scalars("jouleprune/energy_j")]
    assert scalars == [pytest.approx(joule, rel=1e-6) for joule in joules]
    densities = [event.value for event in events.Scalars("jouleprune/density/0")]
    assert densities[-1] == pytest.approx(pruner.plan.layers[0].density, rel=1e-6)
    assert "jouleprune/plan/text_summary" in events.Tags()["tensors"]
