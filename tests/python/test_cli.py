"""The command line: text for people, JSON for programs, exit codes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import warnings

import pytest
import torch
from networks import mlp

import jouleprune as jp
from jouleprune.cli import main
from jouleprune.model_spec import parse_input


def run(capsys, *arguments: str) -> tuple[int, str, str]:
    code = main(arguments)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_info(capsys):
    code, out, _ = run(capsys, "info", "--json")
    facts = json.loads(out)
    assert code == 0 and facts["version"] == jp.__version__
    assert facts["torch_running"] == torch.__version__
    assert facts["with_cuda"] == "ON" or facts["cuda_reason"]
    assert facts["kernels"] in facts["kernels_here"]
    code, out, _ = run(capsys, "info")
    assert code == 0 and jp.__version__ in out


@pytest.mark.parametrize("isa", jp._C.supported_isas())
def test_info_tells_the_forced_kernels(capsys, monkeypatch, isa):
    monkeypatch.setenv("JOULEPRUNE_ISA", isa)
    assert json.loads(run(capsys, "info", "--json")[1])["kernels"] == isa


def test_an_unknown_isa_is_an_error_that_lists_them(capsys, monkeypatch):
    monkeypatch.setenv("JOULEPRUNE_ISA", "sse9")
    code, _, err = run(capsys, "info")
    assert code == 1 and "JOULEPRUNE_ISA: expected one of reference, portable, avx2, avx512, got 'sse9'" in err


def test_profiles(capsys):
    code, out, _ = run(capsys, "profiles")
    assert code == 0 and "eyeriss-65nm" in out and "generic-cpu" in out
    code, out, _ = run(capsys, "profiles", "--show", "eyeriss-65nm")
    assert code == 0 and out.startswith("eyeriss-65nm: asic, dataflow op-count")
    assert re.search(r"^int16 mac_pj +1\.694 +0\.95 +2 +published \[1\]$", out, re.MULTILINE)
    assert "[1] published: value: manasiumn37/CNNergy" in out
    code, out, _ = run(capsys, "profiles", "--show", "eyeriss-65nm", "--json")
    assert code == 0 and json.loads(out)["name"] == "eyeriss-65nm"
    code, _, err = run(capsys, "profiles", "--show", "nothing")
    assert code == 1 and "ProfileError" in err and "nothing" in err


def make():
    """Named on the command line as test_cli:make."""
    return mlp()


def test_estimate(capsys):
    code, out, _ = run(capsys, "estimate", "test_cli:make", "--profile", "eyeriss-65nm", "--json")
    model, x = mlp()
    assert code == 0
    assert json.loads(out)["total_j"] == jp.estimate(model, x, profile="eyeriss-65nm").energy_j
    code, out, _ = run(capsys, "estimate", "test_cli:make")
    assert code == 0 and "modelled" in out


def test_estimate_of_a_saved_model(capsys, tmp_path):
    model, _ = mlp()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(model).save(str(tmp_path / "m.pt"))
    file = str(tmp_path / "m.pt")
    code, out, _ = run(capsys, "estimate", file, "--input", "4x1x28x28:float32", "--profile", "eyeriss-65nm", "--json")
    assert code == 0
    expected = jp.estimate(model, torch.randn(4, 1, 28, 28), profile="eyeriss-65nm").energy_j
    assert json.loads(out)["total_j"] == expected
    assert run(capsys, "estimate", file)[0] == 1


@pytest.mark.parametrize("spec", ["nothing", "no_such_module:f", "test_cli:nothing", "test_cli:warnings", "os:getcwd"])
def test_bad_specs(capsys, spec):
    code, _, err = run(capsys, "estimate", spec)
    assert code == 1 and "model" in err


def breaks():
    raise KeyError("no such part")


def does_not_fit():
    return mlp()[0], torch.ones(2, 3)


def raises_when_called():
    class Stubborn(torch.nn.Module):
        def forward(self, _x):
            raise LookupError("first\nsecond")

    return Stubborn(), torch.ones(2, 3)


@pytest.mark.parametrize(
    ("spec", "what"),
    [
        ("test_cli:breaks", "KeyError: 'no such part'"),
        ("test_cli:does_not_fit", "example_inputs: .*mat1 and mat2"),
        ("test_cli:raises_when_called", "LookupError: first second"),
    ],
)
def test_what_the_users_code_raises_is_one_line(capsys, spec, what):
    code, out, err = run(capsys, "estimate", spec)
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert re.search(f"^jouleprune estimate {spec}: .*{what}", err)
    code, _, err = run(capsys, "--traceback", "estimate", spec)
    assert code == 1 and "Traceback" in err and re.search(what, err)


def test_an_input_for_a_callable_is_refused(capsys):
    code, _, err = run(capsys, "estimate", "test_cli:make", "--input", "1x8")
    assert code == 1 and "input: only for a saved TorchScript file" in err


@pytest.mark.parametrize("text", ["4000000000x4000000000", "1" + "0" * 30, "1x9223372036854775807:int8"])
def test_an_input_that_no_memory_holds(text):
    with pytest.raises(ValueError, match=f"input: cannot make a tensor of '{text}'"):
        parse_input(text)


@pytest.mark.parametrize("value", ["x", "2", "-1"])
def test_a_bad_jit_variable_is_refused(value):
    """In a process of its own: the variable is read once."""
    environment = {**os.environ, "JOULEPRUNE_JIT": value}
    command = [sys.executable, "-m", "jouleprune", "info"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and f"JOULEPRUNE_JIT: expected 0, 1 or nothing, got '{value}'" in done.stderr
    call = "import torch, jouleprune as jp; jp.nn.SparseLinear.from_dense(torch.nn.Linear(4, 4))(torch.ones(1, 4))"
    done = subprocess.run([sys.executable, "-c", call], env=environment, capture_output=True, text=True, check=False)
    assert "ValueError: JOULEPRUNE_JIT: expected 0, 1 or nothing" in done.stderr


@pytest.mark.parametrize("text", ["", "1x", "1x-2", "1x2:nothing", "axb", "1x2:manual_seed"])
def test_bad_inputs(text):
    with pytest.raises(ValueError, match="input"):
        parse_input(text)


def test_wrong_command_line_exits_with_2(capsys):
    with pytest.raises(SystemExit) as exit_code:
        main(["no-such-command"])
    assert exit_code.value.code == 2
    assert "no-such-command" in capsys.readouterr().err
