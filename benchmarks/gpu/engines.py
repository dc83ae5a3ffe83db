"""The graphs that `prepare.py` has written, as sessions of ONNX Runtime, and what these spend their time on."""

import json
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from weights import fill

# Exact float32; products of 10 bits, as torch takes for convolutions unless told otherwise; a graph of 16 bits.
FP32, TF32, FP16 = MODES = ("fp32", "tf32", "fp16")


@dataclass(frozen=True)
class Case:
    """A graph: `model_HxW_bBATCH[_dDETECTIONS]_PRECISION.onnx`."""

    file: Path
    model: str
    height: int
    width: int
    batch: int
    detections: int
    precision: str

    @classmethod
    def at(cls, file: Path) -> "Case":
        """Read from a name."""
        *rest, precision = file.stem.split("_")
        count = int(rest.pop()[1:]) if rest[-1][0] == "d" else 0
        batch, size = int(rest.pop()[1:]), rest.pop()
        height, width = map(int, size.split("x"))
        return cls(file, "_".join(rest), height, width, batch, count, precision)

    @property
    def stem(self) -> str:
        """Without the precision."""
        return self.file.stem.rsplit("_", 1)[0]

    def of(self, mode: str) -> "Case":
        """The same graph for a mode."""
        precision = FP16 if mode == FP16 else FP32
        return replace(self, file=self.file.with_name(f"{self.stem}_{precision}.onnx"), precision=precision)


def cases_in(folder: Path) -> list[Case]:
    """All graphs."""
    return [Case.at(file) for file in sorted(folder.glob("*_*x*_b*.onnx"))]


def open_session(case: Case, cpu: bool, mode: str, **more: Any) -> Any:
    """A session of a graph with its weights drawn; `more` are the CUDA provider's options or `profile`, a path."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if path := more.pop("profile", None):
        options.enable_profiling, options.profile_file_prefix = True, str(path)
    providers: list[Any] = ["CPUExecutionProvider"]
    if not cpu:
        cuda = {"use_tf32": int(mode != FP32), "cudnn_conv_algo_search": "HEURISTIC", **more}
        providers.insert(0, ("CUDAExecutionProvider", cuda))
    session = onnxruntime.InferenceSession(fill(case.file).SerializeToString(), options, providers=providers)
    if not cpu and session.get_providers()[0] != "CUDAExecutionProvider":
        raise RuntimeError("ONNX Runtime did not take the GPU")
    return session


def runner(session: Any, batches: list[np.ndarray]) -> Callable[[int], list[np.ndarray]]:
    """Runs the session on the k-th batch, with inputs and outputs bound to host memory."""
    names = [one.name for one in session.get_outputs()]

    def work(k: int) -> list[np.ndarray]:
        binding = session.io_binding()
        binding.bind_cpu_input("pixels", batches[k % len(batches)])
        for name in names:
            binding.bind_output(name, "cpu")
        session.run_with_iobinding(binding)
        return binding.copy_outputs_to_cpu()

    return work


def profiled(case: Case, batches: list[np.ndarray], cpu: bool, folder: Path) -> dict[str, Any]:
    """Operators by provider, copies between host and device, and the kernels that take longest, of one run."""
    mode = TF32 if case.precision == FP32 else FP16
    session = open_session(case, cpu, mode, profile=folder / case.file.stem)
    work = runner(session, batches)
    for _ in range(3):
        work(0)
    file = Path(session.end_profiling())
    told = _nodes(json.loads(file.read_text()), 3)
    file.unlink()
    if not cpu:
        told |= _kernels(runner(open_session(case, cpu, mode), batches))
    return told


def _nodes(events: list[dict], runs: int) -> dict[str, Any]:
    """Of ONNX Runtime's own profile: how many nodes a run each provider has, and the CPU's milliseconds by operator."""
    counts: Counter[str] = Counter()
    host: dict[str, list[float]] = defaultdict(lambda: [0, 0.0])
    waits: dict[str, list[float]] = defaultdict(lambda: [0, 0.0])
    for event in events:
        told = event.get("args", {})
        if event.get("cat") != "Node" or not event["name"].endswith("_kernel_time"):
            continue
        provider, kind = told["provider"].removesuffix("ExecutionProvider"), told["op_name"]
        counts[provider] += 1
        into = host[kind] if provider == "CPU" else waits[kind]
        into[0] += 1 / runs
        into[1] += event["dur"] / runs / 1e3
    rank = lambda table: {k: [round(n), round(ms, 3)] for k, (n, ms) in sorted(table.items(), key=lambda i: -i[1][1])[:14]}  # noqa: E731
    return {"nodes": {k: round(n / runs) for k, n in counts.items()}, "on_cpu": rank(host), "launched": rank(waits)}


def _kernels(work: Callable[[int], Any]) -> dict[str, Any]:
    """What the GPU did in three runs, as CUPTI tells torch: milliseconds a run by kernel."""
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as tracer

    for _ in range(3):
        work(0)
    with tracer(activities=[ProfilerActivity.CUDA, ProfilerActivity.CPU]) as trace:
        for _ in range(3):
            work(0)
    table: dict[str, list[float]] = defaultdict(lambda: [0, 0.0])
    for event in trace.events():
        if str(event.device_type).endswith("CUDA"):
            table[event.name[:110]][0] += 1 / 3
            table[event.name[:110]][1] += event.time_range.elapsed_us() / 3e3
    ranked = sorted(table.items(), key=lambda item: -item[1][1])
    copies = {k: [round(n), round(ms, 3)] for k, (n, ms) in ranked if "emcpy" in k}
    return {
        "kernels_ms": sum(ms for _, (_, ms) in ranked),
        "launches": sum(n for _, (n, _) in ranked),
        "copies": copies,
        "kernels": {k: [round(n), round(ms, 3)] for k, (n, ms) in ranked[:25]},
    }
