"""Runs kernels as nvcc translates them: a small interpreter of PTX, the text between C++ and machine code.

A second oracle beside the emulator (cuda/simt/host), and an independent one: that one runs the C++ bodies as g++
compiles them, this one what nvcc made of the same bodies for a GPU, addresses, branches and inline instructions
included. It knows the whole-number and few float32 instructions that the simple kernels need (packing, masks); others
end it with an error that names the line. Threads run one after the other up to the next barrier, ballot or shuffle,
which must be reached by all. Not shown by it: the order of memory, and what ptxas makes of the text.

PTX ISA, https://docs.nvidia.com/cuda/parallel-thread-execution.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any

LANES = 32
_LINE = re.compile(r"^(?:@(!?)(%\w+)\s+)?([a-z][\w.]*)\s*(.*?);$")
_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "eq": lambda a, b: a == b, "ne": lambda a, b: a != b, "lt": lambda a, b: a < b, "le": lambda a, b: a <= b,
    "gt": lambda a, b: a > b, "ge": lambda a, b: a >= b, "nan": lambda a, b: a != a or b != b,
}  # fmt: skip


class PtxError(Exception):
    """A kernel that does what it must not, or an instruction that is not known here."""


@dataclass
class Instruction:
    guard: str
    negated: bool
    op: list[str]
    operands: list[str]
    text: str


@dataclass
class Kernel:
    instructions: list[Instruction] = field(default_factory=list)
    labels: dict[str, int] = field(default_factory=dict)


def kernels_of(ptx: str) -> dict[str, Kernel]:
    """Every .entry of a PTX file by its mangled name."""
    found = {}
    for part in re.split(r"^\.visible \.entry ", ptx, flags=re.MULTILINE)[1:]:
        kernel = found[part.split("(", 1)[0]] = Kernel()
        for raw in part[part.index("\n{") + 2 : part.index("\n}")].splitlines():
            line = raw.split("//")[0].strip()
            if line.endswith(":"):
                kernel.labels[line[:-1]] = len(kernel.instructions)
            elif line and not line.startswith("."):
                match = _LINE.match(line)
                if match is None:  # a call's braces: an error where it is reached
                    kernel.instructions.append(Instruction("", False, ["?"], [], line))
                    continue
                operands = re.findall(r"\{[^}]*\}|\[[^\]]*\]|[^,\s]+", match[4])
                kernel.instructions.append(
                    Instruction(match[2] or "", match[1] == "!", match[3].split("."), operands, line)
                )
    return found


class Memory:
    """Global memory: arrays of bytes at made-up addresses, with bounds and alignment."""

    def __init__(self) -> None:
        self._spans: list[tuple[int, bytearray]] = []

    def add(self, content: bytes) -> int:
        """Its address."""
        base = (len(self._spans) + 1) << 32
        self._spans.append((base, bytearray(content)))
        return base

    def content(self, address: int) -> bytes:
        return bytes(self.span(address, 0)[0])

    def span(self, address: int, size: int) -> tuple[bytearray, int]:
        for base, content in self._spans:
            if base <= address and address + size <= base + len(content):
                if size and address % size:
                    raise PtxError(f"address {address - base} is not aligned to {size}")
                return content, address - base
        raise PtxError(f"{size} bytes at {address:#x} lie outside of every array")


def _bits(kind: str) -> int:
    return 1 if kind == "pred" else int(kind[1:])


def _as(kind: str, value: int) -> Any:
    """The number that a register of so many bits stands for."""
    bits = _bits(kind)
    value &= (1 << bits) - 1
    if kind == "f32":
        return struct.unpack("<f", struct.pack("<I", value))[0]
    return value - (1 << bits) if kind[0] == "s" and value >> (bits - 1) else value


def _quotient(a: int, b: int) -> int:
    """Rounded to zero, as the machine does."""
    return abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)


def _arithmetic(op: list[str], a: int, b: int, c: int) -> int:
    kind = op[-1]
    x, y = _as(kind, a), _as(kind, b)
    match op[0]:
        case "add":
            return x + y
        case "sub":
            return x - y
        case "mul":
            return x * y
        case "mad":
            return x * y + (_as(kind[0] + str(2 * _bits(kind)), c) if op[1] == "wide" else _as(kind, c))
        case "div":
            return _quotient(x, y)
        case "rem":
            return x - y * _quotient(x, y)
        case "min":
            return min(x, y)
        case "max":
            return max(x, y)
        case "and":
            return a & b
        case "or":
            return a | b
        case "xor":
            return a ^ b
        case "shl":
            return x << min(b & 0xFFFFFFFF, 64)
        case "shr":
            return x >> min(b & 0xFFFFFFFF, 64)
    raise PtxError(f"instruction not known here: {'.'.join(op)}")


_BINARY = {"add", "sub", "mul", "mad", "div", "rem", "min", "max", "and", "or", "xor", "shl", "shr"}
Request = tuple[str, int, int]  # what is waited for, where, with which value


class Thread:
    def __init__(self, block: Block, tid: int) -> None:
        self.block, self.tid, self.registers = block, tid, dict[str, int]()

    def value(self, operand: str) -> int:
        if operand in self.registers:
            return self.registers[operand]
        special = {"%tid.x": self.tid, "%ctaid.x": self.block.x, "%ctaid.y": 0}
        if operand in special:
            return special[operand]
        if operand.startswith("0f"):
            return int(operand[2:], 16)
        if re.fullmatch(r"-?(0x[0-9a-fA-F]+|\d+)", operand):
            return int(operand, 0)
        if operand.startswith("_Z"):  # the one array of shared memory
            return 0
        raise PtxError(f"register {operand} was never written")

    def address(self, operand: str) -> int:
        base, _, offset = operand[1:-1].partition("+")
        at = 0 if "param" in base else self.value(base)
        return at + (int(offset) if offset else 0)

    def put(self, register: str, value: int, bits: int) -> None:
        self.registers[register] = int(value) & ((1 << bits) - 1)

    def run(self) -> Generator[Request, int, None]:
        kernel, at = self.block.kernel, 0
        while at < len(kernel.instructions):
            i = kernel.instructions[at]
            at += 1
            if i.guard and bool(self.value(i.guard)) == i.negated:
                continue
            match i.op[0]:
                case "ret":
                    return
                case "bra":
                    at = kernel.labels[i.operands[0]]
                case "bar":
                    yield "bar", at, 0
                case "vote":
                    self.put(i.operands[0], (yield "vote", at, self.value(i.operands[1])), 32)
                case "shfl":
                    other = self.tid % LANES ^ self.value(i.operands[2])
                    got = yield "shfl", at, self.value(i.operands[1]) << 8 | other
                    self.put(i.operands[0].split("|")[0], got, 32)
                case _:
                    self.execute(i)

    def execute(self, i: Instruction) -> None:
        op, operands, kind = i.op, i.operands, i.op[-1]
        if len(operands) < 2:
            raise PtxError(f"instruction not known here: {i.text}")
        if op[0] in ("ld", "st", "atom"):
            self.access(op, operands, kind)
            return
        out, values = operands[0], [self.value(x) for x in operands[1:] if x[0] != "{"]
        match op[0]:
            case "mov" if out[0] == "{" or (len(operands) > 1 and operands[1][0] == "{"):
                self.move_parts(out, operands[1], _bits(kind))
            case "mov" | "cvta":
                self.put(out, values[0], _bits(kind))
            case "cvt":
                self.put(out, _as(op[-1], values[0]), _bits(op[-2]))
            case "not":
                self.put(out, ~values[0], _bits(kind))
            case "neg":
                self.put(out, values[0] ^ 1 << 31 if kind == "f32" else -values[0], _bits(kind))
            case "popc":
                self.put(out, values[0].bit_count(), 32)
            case "setp":
                self.put(out, _COMPARISONS[op[1]](_as(kind, values[0]), _as(kind, values[1])), 1)
            case "selp":
                self.put(out, values[0] if values[2] else values[1], _bits(kind))
            case name if name in _BINARY:
                wide = 2 if op[1] == "wide" else 1
                self.put(out, _arithmetic(op, values[0], values[1], ([*values, 0])[2]), wide * _bits(kind))
            case _:
                raise PtxError(f"instruction not known here: {i.text}")

    def move_parts(self, out: str, source: str, bits: int) -> None:
        """mov.b64 %rd, {%r1, %r2} and back."""
        parts = re.findall(r"%\w+", source if out[0] == "%" else out)
        width = bits // len(parts)
        if out[0] == "%":
            self.put(out, sum(self.value(part) << (width * k) for k, part in enumerate(parts)), bits)
        else:
            for k, part in enumerate(parts):
                self.put(part, self.value(source) >> (width * k), width)

    def access(self, op: list[str], operands: list[str], kind: str) -> None:
        size, space = _bits(kind) // 8, op[1]
        store = op[0] == "st"
        place = self.address(operands[0] if store else operands[1])
        registers = re.findall(r"%\w+|-?\w+", operands[1] if store else operands[0])
        for k, register in enumerate(registers):
            memory, start = self.block.memory_of(space, place + k * size, size)
            if store:
                memory[start : start + size] = (self.value(register) & ((1 << 8 * size) - 1)).to_bytes(size, "little")
                continue
            found = int.from_bytes(memory[start : start + size], "little")
            if op[0] == "atom":
                added = found + self.value(operands[2])
                memory[start : start + size] = (added & ((1 << 8 * size) - 1)).to_bytes(size, "little")
            self.put(register, _as(kind, found), 64 if kind[0] == "s" else 8 * size)


class Block:
    def __init__(self, kernel: Kernel, x: int, parameters: bytes, memory: Memory, shared: int) -> None:
        self.kernel, self.x, self._memory = kernel, x, memory
        self._spaces = {"param": bytearray(parameters), "shared": bytearray(b"\xff" * shared)}

    def memory_of(self, space: str, address: int, size: int) -> tuple[bytearray, int]:
        if space == "global":
            return self._memory.span(address, size)
        content = self._spaces[space]
        if address + size > len(content) or address % size:
            raise PtxError(f"{size} bytes at {address} of {len(content)} bytes of {space} memory")
        return content, address

    def run(self, threads: int) -> None:
        running = {t: Thread(self, t).run() for t in range(threads)}
        answers: dict[int, int | None] = dict.fromkeys(running)  # None: to begin with
        waiting: dict[int, Request] = {}
        while running:
            for t, steps in list(running.items()):
                if t in waiting:
                    continue
                try:
                    waiting[t] = steps.send(answers[t])  # type: ignore[arg-type]
                except StopIteration:
                    del running[t]
            self.meet(waiting, answers)

    def meet(self, waiting: dict[int, Request], answers: dict[int, int | None]) -> None:
        """Lets go whoever waits for a barrier that all have reached, or for a warp that is whole."""
        if waiting and all(request[0] == "bar" for request in waiting.values()):
            if len({at for _, at, _ in waiting.values()}) > 1:
                raise PtxError("threads of a block meet at different barriers")
            waiting.clear()
            return
        for warp in {t // LANES for t, request in waiting.items() if request[0] != "bar"}:
            lanes = {t % LANES: request for t, request in waiting.items() if t // LANES == warp}
            if len(lanes) < LANES or len({(what, at) for what, at, _ in lanes.values()}) > 1:
                raise PtxError(f"lanes of warp {warp} do not meet at one instruction")
            for lane, (what, _, value) in lanes.items():
                if what == "vote":
                    answer = sum(1 << other for other, request in lanes.items() if request[2])
                else:
                    answer = lanes[value & 0xFF][2] >> 8
                answers[warp * LANES + lane] = answer
                del waiting[warp * LANES + lane]


def launch(kernel: Kernel, grid: int, threads: int, parameters: bytes, memory: Memory, shared: int = 0) -> None:
    """Runs a grid of blocks, one after the other; `parameters`: the kernel's struct as C lays it out."""
    for x in range(grid):
        Block(kernel, x, parameters, memory, shared).run(threads)
