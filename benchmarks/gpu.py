"""Checks and times all that runs on a GPU, in steps of at most two minutes.

    python benchmarks/gpu.py --out gpu-out                 # on a machine with a GPU
    python benchmarks/gpu.py --device cpu --tiny           # every line but CUDA's, in a minute or two
    python benchmarks/gpu.py equality train                # some steps

Needs PyTorch, torchvision, onnx, onnxscript and onnxruntime alone; where another library is missing,
what needs it is reported as not checked.  Each step is a process of its own and prints facts as JSON
lines, which OUT/facts.jsonl collects.  Exit code 1: a step failed or took too long.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import json
import os
import runpy
import subprocess
import sys
import tempfile
import time
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

STEP_SECONDS = 120
NOT_CHECKED = 77
"""Exit code of a step for which this machine lacks something."""
ROOT = Path(__file__).parents[1]
STUBBED = {
    "psutil": ("psutil",),
    "scipy": ("scipy",),
    "dcsh_pg.imagery": ("shapely", "rasterio", "pyproj", "natsort", "pystac", "PIL"),
}
"""What is imported on the way and hardly used here, and the libraries that it takes."""
MISSING: set[str] = set()
"""Of these, what cannot be imported."""


def import_without_the_rest() -> None:
    """Makes ``dcsh_pg`` importable from a checkout that is not installed."""
    sys.path.insert(0, str(ROOT))
    for name, libraries in STUBBED.items():
        if not all(map(importlib.util.find_spec, libraries)):
            MISSING.add(name)
    sys.meta_path.insert(0, Stubs())
    if "psutil" in MISSING:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        total = types.SimpleNamespace(total=memory)
        importlib.import_module("psutil").__dict__["virtual_memory"] = lambda: total


class Stub(types.ModuleType):
    """Stands for a module that cannot be imported."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


class Stubs(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds what ``MISSING`` has."""

    def find_spec(
        self, name: str, path: Any = None, target: Any = None
    ) -> importlib.machinery.ModuleSpec | None:
        if not any(f"{name}.".startswith(f"{missing}.") for missing in MISSING):
            return None
        return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        return Stub(spec.name)

    def exec_module(self, module: types.ModuleType) -> None: ...


class Check:
    """What the steps share.

    Attributes:
        device: 'cuda' or 'cpu'.
        tiny: small networks and few images, to rehearse on a CPU.
    """

    def __init__(self, device: str, tiny: bool, out: Path):
        import torch

        self.name, self.tiny, self.out = device, tiny, out
        self.device = torch.device(device)
        self.on_gpu = device == "cuda"

    def say(self, step: str, **facts: Any) -> None:
        line = json.dumps({"step": step, **facts})
        print(line, flush=True)
        with open(self.out / "facts.jsonl", "a") as file:
            file.write(line + "\n")

    def images(self, count: int, side: int = 256, kinds: int = 8) -> Any:
        """uint8 (count, side, side, 3): waves and colours of some kinds, which can be learned."""
        import numpy as np

        random = np.random.default_rng(0)
        y, x = np.mgrid[0:side, 0:side] / side
        made = np.empty((count, side, side, 3), np.uint8)
        for number in range(count):
            kind = np.random.default_rng(1000 + number % kinds)
            frequency, colour = kind.uniform(2, 30, 2), kind.uniform(60, 200, 3)
            phase = random.uniform(0, 6.3, 2)
            wave = np.sin(6.28 * frequency[0] * x + phase[0]) * np.sin(
                6.28 * frequency[1] * y + phase[1]
            )
            noise = random.normal(0, 25, (side, side, 1)) + random.normal(0, 15, 3)
            made[number] = np.clip(colour + 40 * wave[..., None] + noise, 0, 255)
        return made

    def encoder(self, name: str) -> Any:
        """An encoder with random weights; ``small`` where all is tiny."""
        from dcsh_pg.learning.encoders import Encoder
        from dcsh_pg.learning.training.randomness import seeded

        with seeded(0):
            return Encoder("small" if self.tiny else name)

    def wait(self) -> None:
        import torch

        if self.on_gpu:
            torch.cuda.synchronize()

    def rate(self, run: Callable[[], Any], items: int, repeats: int = 5) -> float:
        """Items a second."""
        for _ in range(2):
            run()
        self.wait()
        began = time.perf_counter()
        for _ in range(repeats):
            run()
        self.wait()
        return round(items * repeats / (time.perf_counter() - began), 1)


def inventory(check: Check) -> None:
    """Libraries, devices and providers."""
    import torch

    found = {"python": sys.version.split()[0]}
    for name in ("torch", "torchvision", "numpy", "scipy", "sklearn", "onnx", "onnxscript",
                 "onnxruntime", "tensorrt", "faiss", "timm", "shapely", "rasterio"):  # fmt: skip
        try:
            found[name] = getattr(importlib.import_module(name), "__version__", "yes")
        except ImportError:
            found[name] = "missing"
    found |= {name: "missing" for name in MISSING if name in found}
    check.say("inventory", **found)
    check.say(
        "inventory",
        gpu=torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        cudnn=torch.backends.cudnn.version(),
        cudnn_tf32=torch.backends.cudnn.allow_tf32,
        matmul_tf32=torch.backends.cuda.matmul.allow_tf32,
        bfloat16_units=torch.cuda.is_available() and torch.cuda.is_bf16_supported(),
    )


def equality(check: Check) -> None:
    """Views, features and losses of the CPU and of the device; what each precision costs in bits."""
    import torch

    from dcsh_pg.learning.data.augment import Augmentation
    from dcsh_pg.learning.data.computing import TorchCompute
    from dcsh_pg.learning.model.preprocess import Preprocess
    from dcsh_pg.methods import dcsh

    images = torch.from_numpy(check.images(8 if check.tiny else 64))
    encoder = check.encoder("resnet50").eval()
    own = Preprocess.of(encoder)
    scaled = own.scale(images)
    views = Augmentation()(scaled, torch.Generator().manual_seed(3))
    there = Augmentation()(scaled.to(check.device), torch.Generator().manual_seed(3)).cpu()
    check.say("equality", views_largest_difference=float((views - there).abs().max()))
    assert (views - there).abs().max() < 2e-3
    inputs = own.standardise(scaled)
    expected = torch.from_numpy(TorchCompute(encoder)(inputs)())
    planes = torch.randn(expected.shape[1], 256, generator=torch.Generator().manual_seed(1))
    encoder = encoder.to(check.device)
    for precision in ("float32", "bfloat16"):
        compute = TorchCompute(encoder, precision, check.device)
        found = torch.from_numpy(compute(inputs.to(check.device))())
        error = float((found - expected).norm() / expected.norm())
        bits = [(f - expected.mean(dim=0)) @ planes >= 0 for f in (found, expected)]
        check.say(
            "equality",
            precision=precision,
            relative_error=error,
            percent_of_bits=float(100 * (bits[0] != bits[1]).float().mean()),
        )
        assert error < (1e-3 if precision == "float32" else 0.05)
    z = torch.randn(2, 16, 64, generator=torch.Generator().manual_seed(2))
    pairs = types.SimpleNamespace(ignored=None)
    losses = [
        [float(term) for term in dcsh.objective(*z.to(d), pairs, 1.0, dcsh.Options()).values()]
        for d in ("cpu", check.device)
    ]
    check.say("equality", loss_on_cpu=losses[0], loss_on_device=losses[1])
    assert all(abs(a - b) < 1e-3 for a, b in zip(*losses, strict=True))


def train(check: Check) -> None:
    """Short trainings: does the loss fall, are the codes balanced, is the result on the CPU?"""
    from dcsh_pg.learning.training.run import Run
    from dcsh_pg.methods import dcsh

    epochs = 4 if check.tiny else 10
    fast = {"epochs": epochs, "encoder_lr": 1e-4, "head_lr": 1e-3, "alpha": 0.1}
    mined = {"positives": "neighbours", "neighbours": 5, **fast}
    jobs = [("resnet50, fine-tuned", "resnet50", dcsh.Options(**fast))]
    if "scipy" not in MISSING:
        frozen = dataclasses.replace(dcsh.Options.frozen(), epochs=epochs, neighbours=5)
        jobs += [
            ("resnet50, fine-tuned with neighbours", "resnet50", dcsh.Options(**mined)),
            ("densenet169, frozen", "densenet169", frozen),
        ]
    images = check.images(48 if check.tiny else 384)
    for name, encoder, options in jobs:
        with tempfile.TemporaryDirectory() as folder:
            began = time.perf_counter()
            run = Run(bits=32, device=check.device, folder=Path(folder))
            made = dcsh.fit(images, check.encoder(encoder), options, run)
            check.wait()
            lines = (Path(folder) / "log.jsonl").read_text().splitlines()
            log = [json.loads(line) for line in lines]
            check.say(
                "train",
                job=name,
                seconds=round(time.perf_counter() - began, 1),
                first=log[0]["nt_xent"],
                last=log[-1]["nt_xent"],
                constant_bits=log[-1]["constant"],
            )
            assert all(parameter.device.type == "cpu" for parameter in made.parameters())


def throughput(check: Check) -> None:
    """Fine-tuning against one constant batch: ``benchmarks/training.py``."""
    arguments = ["--device", check.name, "--out", str(check.out / "training.json")]
    few = ["--encoder", "small", "--images", "16", "--batch-size", "8", "--size", "64"]
    many = ["--encoder", "resnet50", "--images", "1024"]
    arguments += [*(few if check.tiny else many), "--repeats", "1", "--epochs", "2"]
    sys.argv[1:] = arguments
    runpy.run_path(str(ROOT / "benchmarks" / "training.py"), run_name="__main__")
    report = json.loads((check.out / "training.json").read_text())
    for name, rates in report["images_per_second"].items():
        check.say("throughput", encoder=name, ratio=rates["ratio"], steps=rates["steps"])


def loader(check: Check) -> None:
    """Batches from host memory and from the device's."""
    import torch

    from dcsh_pg.learning.data.image_store import ImageStore

    images = check.images(64 if check.tiny else 1024)
    rows = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))[:64]
    for resident in (False, True):
        store = ImageStore(images, check.device, resident=resident)
        assert (store.take(rows).cpu().numpy() == images[rows.numpy()]).all()
        repeats = 5 if check.tiny else 50
        check.say(
            "loader",
            resident=resident,
            images_a_second=check.rate(lambda store=store: store.take(rows), 64, repeats),
        )


def features(check: Check) -> None:
    """Features of several orientations, in both precisions, with and without the cache on disk."""
    from dcsh_pg.learning.data.feature_cache import FeatureCache
    from dcsh_pg.learning.data.features import extract, fixed_views

    images = check.images(16 if check.tiny else 512)
    encoder = check.encoder("densenet169")
    for precision in ("float32", "bfloat16"):
        for on_disk in (False, True):
            with tempfile.TemporaryDirectory() as folder:
                cache = FeatureCache(Path(folder) if on_disk else None, precision=precision)
                warm = FeatureCache(None, precision=precision)
                extract(images[:8], encoder, cache=warm, device=check.device)
                began = time.perf_counter()
                extract(
                    images, encoder, views=fixed_views(range(4)), cache=cache, device=check.device
                )
                seconds = time.perf_counter() - began
                cache.close()
                check.say(
                    "features",
                    precision=precision,
                    on_disk=on_disk,
                    passes_a_second=round(4 * len(images) / seconds, 1),
                )


def mining(check: Check) -> None:
    """Neighbours on the device."""
    import torch

    from dcsh_pg.learning.data.neighbours import diffused, nearest

    if "scipy" in MISSING:
        print("scipy is missing")
        sys.exit(NOT_CHECKED)
    for images in (500,) if check.tiny else (5_000, 20_000, 100_000):
        random = torch.Generator().manual_seed(0)
        unit = torch.nn.functional.normalize(torch.randn(images, 128, generator=random), dim=1)
        expected = nearest(unit[:500], 10)
        found = nearest(unit[:500].to(check.device), 10).cpu()
        same = float((found == expected).float().mean())
        assert same > 0.99
        began = time.perf_counter()
        ways = {"nearest": lambda unit=unit: nearest(unit.to(check.device), 20)}
        if images <= 5_000:
            ways["diffused"] = lambda unit=unit: diffused(unit.to(check.device), 20)
        for name, way in ways.items():
            began = time.perf_counter()
            way()
            check.wait()
            seconds = round(time.perf_counter() - began, 2)
            check.say("mining", way=name, images=images, seconds=seconds, same_as_cpu=same)


def onnx(check: Check) -> None:
    """Model files on the device: codes, input and output bound to it, float16, TensorRT."""
    import numpy as np
    import onnxruntime

    from dcsh_pg.export import onnx_file
    from dcsh_pg.export.graph import CodeGraph
    from dcsh_pg.learning.model.hash_function import HashFunction
    from dcsh_pg.methods import dcsh

    encoder = check.encoder("resnet50").eval()
    head = dcsh.hash_layer(encoder.dim, 64, dcsh.Options())
    function = HashFunction(encoder, head, method="dcsh").eval()
    images = check.images(16 if check.tiny else 64)
    providers = onnxruntime.get_available_providers()
    for float16 in (False, True):
        content = onnx_file.trace(CodeGraph(function, float16=float16)).SerializeToString()
        cpu = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
        expected = cpu.run(["code"], {"image": images})[0]
        for provider, options in _providers(check, providers):
            facts = {"float16": float16, "provider": provider, **options}
            with _failing(check, facts):
                session = onnxruntime.InferenceSession(
                    content, providers=[(provider, options), "CPUExecutionProvider"]
                )
                found = session.run(["code"], {"image": images})[0]
                facts["bits_differing"] = int(np.unpackbits(found ^ expected).sum())
                check.say("onnx", **facts, **_rates(check, session, images))
    if check.on_gpu and "CUDAExecutionProvider" not in providers:
        print("this onnxruntime has no CUDA provider")
        sys.exit(NOT_CHECKED)


def _rates(check: Check, session: Any, images: Any) -> dict[str, float]:
    """Images a second, from and to the host, and with input and output bound to the device."""
    import onnxruntime

    repeats = 1 if check.tiny else 5
    binding = session.io_binding()
    value = onnxruntime.OrtValue.ortvalue_from_numpy(images, check.name, 0)
    binding.bind_ortvalue_input("image", value)
    binding.bind_output("code", check.name)
    ways: dict[str, Callable[[], Any]] = {
        "images_a_second": lambda: session.run(["code"], {"image": images}),
        "bound_images_a_second": lambda: session.run_with_iobinding(binding),
    }
    return {name: check.rate(way, len(images), repeats) for name, way in ways.items()}


def _providers(check: Check, there: list[str]) -> list[tuple[str, dict[str, str]]]:
    """Providers of onnxruntime and their options."""
    if not check.on_gpu:
        return [("CPUExecutionProvider", {})]
    heuristic = {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"}
    wanted = [
        ("CUDAExecutionProvider", heuristic),
        ("CUDAExecutionProvider", heuristic | {"cudnn_conv_algo_search": "EXHAUSTIVE"}),
        ("CUDAExecutionProvider", heuristic | {"use_tf32": "1"}),
        ("TensorrtExecutionProvider", {}),
    ]
    return [(provider, options) for provider, options in wanted if provider in there]


@contextmanager
def _failing(check: Check, facts: dict[str, Any]) -> Iterator[None]:
    """Reports a provider that fails, and goes on with the next."""
    try:
        yield
    except Exception as error:  # onnxruntime's errors have no other common base
        if not check.on_gpu:
            raise
        check.say("onnx", **facts, error=str(error).splitlines()[0][:200])


STEPS = (inventory, equality, train, throughput, loader, features, mining, onnx)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = [step.__name__ for step in STEPS]
    parser.add_argument("steps", nargs="*", metavar="STEP", help=f"of {', '.join(names)}")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--tiny", action="store_true", help="small networks and few images")
    parser.add_argument("--out", type=Path, default=Path("gpu-out"))
    parser.add_argument("--in-this-process", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if unknown := set(options.steps) - set(names):
        parser.error(f"no step is called {', '.join(sorted(unknown))}")
    options.out.mkdir(parents=True, exist_ok=True)
    if options.in_this_process:
        import_without_the_rest()
        for name in options.steps:
            globals()[name](Check(options.device, options.tiny, options.out))
        return 0
    return int(any([_failed(name, options) for name in options.steps or names]))


def _failed(name: str, options: argparse.Namespace) -> bool:
    """Runs a step in a process of its own."""
    print(f"== {name}", flush=True)
    command = [sys.executable, __file__, name, "--in-this-process", "--device", options.device]
    command += ["--out", str(options.out), *(["--tiny"] if options.tiny else [])]
    try:
        code = subprocess.run(command, timeout=STEP_SECONDS).returncode
    except subprocess.TimeoutExpired:
        print(f"{name}: took more than {STEP_SECONDS} s", flush=True)
        return True
    if code == NOT_CHECKED:
        print(f"{name}: cannot be checked here", flush=True)
    elif code:
        print(f"{name}: failed with exit code {code}", flush=True)
    return code not in (0, NOT_CHECKED)


if __name__ == "__main__":
    sys.exit(main())
