"""Networks out of ONNX files compute what they were exported from, and bad files are refused."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tandem_hw import convert, from_onnx, prepare
from tandem_hw.errors import ConversionError, FileFormatError
from tests.helpers.command_line import run, succeed, written_json

onnx = pytest.importorskip("onnx")
helper, numpy_helper = onnx.helper, onnx.numpy_helper
FLOAT = onnx.TensorProto.FLOAT


class Residual(nn.Module):
    """Adds, joins, reshapes by a shape that it asks for."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(
            nn.Conv2d(2, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU6()
        )
        self.second = nn.Conv2d(4, 4, 3, padding=2, dilation=2, groups=2)
        self.last = nn.Linear(8 * 16, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        y = torch.relu(self.second(x) + x)
        joined = nn.functional.avg_pool2d(torch.cat([x, y], 1), 2)
        result: Tensor = self.last(joined.view(joined.size(0), -1))
        return result


NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "plain": (
        lambda: nn.Sequential(
            *(nn.Conv2d(2, 4, 3, stride=2, padding=1), nn.BatchNorm2d(4), nn.ReLU()),
            *(nn.Dropout(0.2), nn.Flatten(), nn.Linear(64, 8), nn.BatchNorm1d(8), nn.ReLU()),
            nn.Linear(8, 5, bias=False),
        ),
        (2, 8, 8),
    ),
    "residual": (Residual, (2, 8, 8)),
    "signals": (
        lambda: nn.Sequential(
            *(nn.Conv1d(3, 4, 5, padding=2), nn.BatchNorm1d(4), nn.ReLU(), nn.MaxPool1d(2)),
            *(nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(4, 5), nn.Softmax(1)),
        ),
        (3, 16),
    ),
    "an image comes out": (
        lambda: nn.Sequential(
            *(nn.Conv2d(1, 4, 3, stride=2, padding=1), nn.ReLU(), nn.Identity()),
            nn.ConvTranspose2d(4, 2, 3, stride=2, padding=1, output_padding=1, groups=2),
        ),
        (1, 8, 8),
    ),
    "pooled": (
        lambda: nn.Sequential(
            *(nn.Conv2d(1, 4, 3, padding=1), nn.Hardtanh(0, 0.5), nn.MaxPool2d(3, 2, 1)),
            *(nn.AvgPool2d(2, padding=1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5)),
        ),
        (1, 8, 8),
    ),
}


def trained(name: str) -> tuple[nn.Module, tuple[int, ...]]:
    """Return a network whose statistics are not those of a fresh one."""
    torch.manual_seed(1)
    make, shape = NETWORKS[name]
    network = make()
    with torch.no_grad():
        for _ in range(3):
            network(torch.rand(16, *shape))
    return network.eval(), shape


def export(network: nn.Module, shape: tuple[int, ...], path: Path, **options: Any) -> None:
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter that needs no further package is the older
        if "dynamo" in torch.onnx.export.__code__.co_varnames:
            options["dynamo"] = False
        torch.onnx.export(network, (torch.rand(1, *shape),), file, **options)
    path.write_bytes(file.getvalue())


@pytest.mark.parametrize("open_batch", [True, False], ids=["any batch", "batch of one"])
@pytest.mark.parametrize("name", NETWORKS)
def test_an_exported_network_comes_back(tmp_path: Path, name: str, open_batch: bool) -> None:
    network, shape = trained(name)
    axes = {"input_names": ["x"], "dynamic_axes": {"x": {0: "n"}}} if open_batch else {}
    export(network, shape, tmp_path / "net.onnx", **axes)
    found = from_onnx(tmp_path / "net.onnx")
    assert found.input_shape == shape
    assert not found.training
    inputs = torch.rand(7, *shape, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        wanted, given = network.double()(inputs.double()), found.double()(inputs.double())
    assert wanted.std() > 1e-3
    # The exporter folds a normalisation into weights of float32: some roundings of eps each.
    assert float((given - wanted).abs().max()) <= 64 * 2**-24 * float(wanted.abs().max())
    prepared = prepare(found.float(), input_shape=shape)
    assert prepared.can_be_converted, str(prepared)


def test_a_file_is_converted_at_the_command_line(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(
        *(nn.Conv2d(1, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()),
        nn.Linear(54, 3),
    )
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (90, 6, 6), dtype=np.uint8)
    with torch.no_grad():
        logits = network(torch.from_numpy(images).float()[:, None] / 255)
        network[-1].bias -= logits.mean(0)
        labels = (logits - logits.mean(0)).argmax(1).numpy()
    arrays = {"x_train": images[:60], "y_train": labels[:60], "x_test": images[60:]}
    np.savez(tmp_path / "data.npz", **arrays, y_test=labels[60:])
    export(network.eval(), (1, 6, 6), tmp_path / "net.onnx")
    command = ("convert", tmp_path / "net.onnx", "--data", f"npz:{tmp_path / 'data.npz'}")
    out = ("--out", tmp_path / "new.net", "--json", tmp_path / "new.json")
    refused = run(*command, *out)
    assert refused.exit_code == 2
    assert "layer MaxPool (MaxPool2d)" in refused.stderr or "is a max pooling" in refused.stderr
    succeed(
        *(*command, *out, "--firing-delay", "phased", "--num-steps", 15, "--input-bits", 8),
    )
    stages = written_json(tmp_path / "new.json")["stages"]
    assert stages[0]["name"] == "ordinary network"
    assert stages[0]["accuracy"] == 1
    assert stages[-1]["accuracy"] > 0.8
    refused = run(*command, *out, "--overwrite", "--model", "mlp")
    assert "is an ONNX file, which has its network; leave --model away" in refused.stderr
    np.savez(
        tmp_path / "data.npz",
        **{name: np.zeros((9, 5, 5), np.uint8) + 9 for name in ("x_train", "x_test")},
        y_train=np.arange(9),
        y_test=np.arange(9),
    )
    refused = run(*command, *out, "--overwrite")
    assert "takes samples of shape (1, 6, 6), those of" in refused.stderr


# Files made by hand ------------------------------------------------------------------------------


def constant(name: str, values: Any) -> Any:
    return numpy_helper.from_array(np.asarray(values), name)


def save(path: Path, nodes: list[Any], constants: list[Any], shape: Any = ("n", 3)) -> Path:
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("x", FLOAT, shape)],
        [helper.make_tensor_value_info("y", FLOAT, None)],
        initializer=constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    path.write_bytes(model.SerializeToString())
    return path


WEIGHT = np.arange(12, dtype=np.float32).reshape(3, 4) / 8


def test_a_product_and_a_sum_are_one_layer(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"]),
        helper.make_node("Add", ["b", "a"], ["c"]),
        helper.make_node("Relu", ["c"], ["d"]),
        helper.make_node("Gemm", ["d", "v", "e"], ["y"], alpha=0.5, beta=2.0),
    ]
    values = {
        "w": WEIGHT,
        "b": np.array([1, -1, 2, 0], np.float32),
        "v": WEIGHT.T,
        "e": np.array([3], np.float32),
    }
    path = save(tmp_path / "net.onnx", nodes, [constant(*item) for item in values.items()])
    network = from_onnx(path)
    assert [type(one) for one in network.children()] == [nn.Linear, nn.ReLU, nn.Linear]
    inputs = torch.rand(5, 3)
    hidden = np.maximum(inputs.numpy().astype(np.float64) @ WEIGHT + values["b"], 0)
    with torch.no_grad():
        given = network.double()(inputs.double()).numpy()
    assert np.abs(given - (0.5 * hidden @ WEIGHT.T + 6)).max() < 1e-12
    model = convert(network.float(), input_shape=(3,), num_steps=4)
    assert [layer.name for layer in model.tandem_layers] == ["dense1", "dense2"]


def test_all_operators_that_are_not_supported_are_named_at_once(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"]),
        helper.make_node("Mul", ["a", "s"], ["b"], name="scaling"),
        helper.make_node("Erf", ["b"], ["c"]),
        helper.make_node("Sub", ["c", "s"], ["d"], name="bad\x1bname"),
        helper.make_node("Own", ["d"], ["e"], domain="own.domain"),
        helper.make_node("Relu", ["e"], ["y"]),
    ]
    constants = [constant("w", WEIGHT), constant("s", np.array([2], np.float32))]
    path = save(tmp_path / "net.onnx", nodes, constants)
    with pytest.raises(ConversionError, match="4 of 6 operators cannot be imported") as refused:
        from_onnx(path)
    for text in ("scaling (Mul)", "Erf_2 (Erf)", r"bad\x1bname (Sub)", "(own.domain.Own)"):
        assert text in str(refused.value)
    assert "imported are Conv, ConvTranspose, Gemm" in str(refused.value)


IMAGE = ("n", 2, 8, 8)
KERNEL = np.ones((4, 2, 3, 3), np.float32)
CONV = (("x", "w"), [constant("w", KERNEL)], IMAGE)
REFUSED: dict[str, tuple[str, tuple[Any, ...], dict[str, Any], str]] = {
    "uneven": ("Conv", CONV, {"pads": [0, 0, 1, 1]}, r"pads \[0, 0, 1, 1\], which differ"),
    "same": ("Conv", CONV, {"auto_pad": "SAME_UPPER", "strides": [2, 2]}, "auto_pad SAME_UPPER"),
    "padding of any": ("Conv", CONV, {"auto_pad": "MAYBE"}, "has auto_pad MAYBE"),
    "large": ("Conv", CONV, {"pads": [1 << 20] * 4}, "numbers up to 1024 are needed"),
    "stride": ("Conv", CONV, {"strides": [1]}, r"has strides \[1\]; 2 numbers"),
    "groups": ("Conv", CONV, {"group": 3}, "3 groups with weights of shape"),
    "computed": ("Conv", (("x", "x"), [], IMAGE), {}, "weights that are computed"),
    "3d": ("Conv", (("x", "w"), [constant("w", KERNEL[None])], IMAGE), {}, "is over 3 axes"),
    "integers": ("Conv", (("x", "w"), [constant("w", KERNEL.astype(int))], IMAGE), {}, "no real"),
    "bias": (
        "Conv",
        (("x", "w", "b"), [constant("w", KERNEL), constant("b", np.ones(3, np.float32))], IMAGE),
        {},
        r"has a bias of shape \(3,\)",
    ),
    "transposed": (
        "ConvTranspose",
        (("x", "w"), [constant("w", KERNEL)], IMAGE),
        {"output_shape": [9, 9]},
        "has an output_shape",
    ),
    "turned": ("Gemm", (("x", "w"), [constant("w", WEIGHT)], ("n", 3)), {"transA": 1}, "is no lay"),
    "matrices": ("MatMul", (("x", "w"), [constant("w", WEIGHT)], (1, 2, 3)), {}, "no layer of vec"),
    "pool": ("AveragePool", (("x",), [], IMAGE), {"kernel_shape": [2] * 3}, "is over 3 axes"),
    "dilated": (
        "AveragePool",
        (("x",), [], IMAGE),
        {"kernel_shape": [2, 2], "dilations": [2, 2]},
        "is an average with a dilation",
    ),
    "flat": ("Flatten", (("x",), [], IMAGE), {"axis": 2}, "flattens samples together"),
    "mean": ("ReduceMean", (("x",), [], IMAGE), {}, "averages over everything"),
    "reshaped": (
        "Reshape",
        (("x", "s"), [constant("s", np.array([4, -1]))], IMAGE),
        {},
        "whose first number is no number of samples",
    ),
    "zero": ("Reshape", (("x", "s"), [constant("s", np.array([-1, 0]))], IMAGE), {}, "the shape"),
    "by itself": ("Reshape", (("x", "x"), [], IMAGE), {}, "has a shape that is computed"),
    "norm": (
        "BatchNormalization",
        (("x", "a", "a", "a", "a"), [constant("a", np.ones(2, np.float32))], IMAGE),
        {"training_mode": 1},
        "normalises by each batch",
    ),
    "norm of others": (
        "BatchNormalization",
        (
            ("x", "a", "b", "a", "a"),
            [constant("a", np.ones(2, np.float32)), constant("b", WEIGHT)],
            IMAGE,
        ),
        {},
        "values of several shapes",
    ),
    "limits": ("Clip", (("x", "x"), [], IMAGE), {}, "has limits that are computed"),
    "added": (
        "Add",
        (("x", "w"), [constant("w", WEIGHT)], IMAGE),
        {},
        "adds a constant that is no",
    ),
    "joined": (
        "Concat",
        (("x", "w"), [constant("w", WEIGHT)], IMAGE),
        {"axis": 1},
        "joins a const",
    ),
    "gathered": ("Gather", (("x", "i"), [constant("i", 1)], IMAGE), {}, "takes single values out"),
    "cast": ("Cast", (("x",), [], IMAGE), {"to": 10}, "changes axes or types"),
    "shape": ("Shape", (("x",), [], IMAGE), {"start": 1}, "gives a part of a shape"),
    "dropout": ("Dropout", (("x",), [], IMAGE), {"ratio": 2.0}, r"drops 2\.0"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_an_operator_that_cannot_be_said_is_refused(tmp_path: Path, case: str) -> None:
    kind, (inputs, constants, shape), attributes, message = REFUSED[case]
    node = helper.make_node(kind, list(inputs), ["y"], name="it", **attributes)
    path = save(tmp_path / "net.onnx", [node], constants, shape)
    with pytest.raises(ConversionError, match=rf"- it \({kind}\) .*{message}"):
        from_onnx(path)


def test_several_outputs_and_sums_with_shapes_are_refused(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("MaxPool", ["x"], ["a", "i"], name="both", kernel_shape=[2, 2]),
        helper.make_node("Shape", ["a"], ["s"]),
        helper.make_node("Relu", ["s"], ["y"], name="odd"),
    ]
    with pytest.raises(ConversionError, match=r"both .* gives 2 values") as refused:
        from_onnx(save(tmp_path / "net.onnx", nodes, [], IMAGE))
    assert "odd (Relu) computes with a shape" in str(refused.value)
    nodes = [helper.make_node("Shape", ["x"], ["s"]), helper.make_node("Relu", ["s"], ["y"])]
    with pytest.raises(ConversionError, match="computes with a shape"):
        from_onnx(save(tmp_path / "net.onnx", nodes, [], IMAGE))


def linear(tmp_path: Path, weight: Any) -> Path:
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    return save(tmp_path / "net.onnx", nodes, [weight])


def beside(place: str, **told: int) -> Any:
    weight = constant("w", WEIGHT)
    weight.ClearField("raw_data")
    weight.data_location = onnx.TensorProto.EXTERNAL
    for key, value in {"location": place, **told}.items():
        weight.external_data.add(key=key, value=str(value))
    return weight


def test_data_beside_the_file_are_read_in_its_folder(tmp_path: Path) -> None:
    (tmp_path / "weights.bin").write_bytes(b"1234" + WEIGHT.tobytes())
    path = linear(tmp_path, beside("weights.bin", offset=4, length=48))
    network = from_onnx(path)
    assert torch.equal(next(network.parameters()).detach(), torch.from_numpy(WEIGHT.T))


@pytest.mark.parametrize(
    ("place", "told", "message"),
    [
        ("../weights.bin", {}, "is no file in the same folder"),
        ("/etc/hostname", {}, "is no file in the same folder"),
        ("link.bin", {}, "is no file in the same folder"),
        ("missing.bin", {}, "is no file in the same folder"),
        ("short.bin", {}, r"takes 48 bytes, which short\.bin does not have"),
        ("inside.bin", {"offset": 1}, "does not have where it says"),
        ("inside.bin", {"offset": -1}, "does not have where it says"),
        ("inside.bin", {"length": 12}, "does not have where it says"),
    ],
)
def test_data_elsewhere_are_not_read(
    tmp_path: Path, place: str, told: dict[str, int], message: str
) -> None:
    folder = tmp_path / "inner"
    folder.mkdir()
    (tmp_path / "weights.bin").write_bytes(WEIGHT.tobytes())
    (folder / "link.bin").symlink_to(tmp_path / "weights.bin")
    (folder / "short.bin").write_bytes(WEIGHT.tobytes()[:-1])
    (folder / "inside.bin").write_bytes(WEIGHT.tobytes())
    with pytest.raises(FileFormatError, match=message):
        from_onnx(linear(folder, beside(place, **told)))


def _huge() -> Any:
    weight = constant("w", WEIGHT)
    del weight.dims[:]
    weight.dims.extend([1 << 40, 4])
    return weight


def _unpacked() -> Any:
    return helper.make_tensor("w", FLOAT, (3, 4), WEIGHT.reshape(-1))


def test_tensors_that_are_not_raw_are_read(tmp_path: Path) -> None:
    assert torch.equal(
        next(from_onnx(linear(tmp_path, _unpacked())).parameters()).detach(),
        torch.from_numpy(WEIGHT.T),
    )


def test_a_tensor_that_is_not_there_in_full_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match=r"w of shape \(1099511627776, 4\) has 48 bytes"):
        from_onnx(linear(tmp_path, _huge()))
    weight = _unpacked()
    del weight.float_data[3:]
    with pytest.raises(FileFormatError, match=r"w of shape \(3, 4\) has 3 values"):
        from_onnx(linear(tmp_path, weight))
    weight = constant("w", WEIGHT)
    weight.dims[0] = -3
    with pytest.raises(FileFormatError, match=r"w has the shape \(-3, 4\)"):
        from_onnx(linear(tmp_path, weight))
    with pytest.raises(FileFormatError, match="w is of a type that is not read"):
        from_onnx(linear(tmp_path, constant("w", WEIGHT.astype(np.uint8))))


def test_files_that_are_no_network_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    with pytest.raises(FileFormatError, match="is no file; give an ONNX file"):
        from_onnx(path)
    path.write_bytes(b"\xff\x00 not one")
    with pytest.raises(FileFormatError, match="is damaged or no ONNX file"):
        from_onnx(path)
    relu = helper.make_node("Relu", ["x"], ["y"])
    cases = {
        "takes z, which nothing before it gives": [helper.make_node("Relu", ["z"], ["y"])],
        "gives x, which is there already": [helper.make_node("Relu", ["x"], ["x"])],
        "nothing gives its output y": [helper.make_node("Relu", ["x"], ["z"])],
        "gives nothing": [helper.make_node("Relu", ["x"], [])],
        "is a constant of a kind that is not read": [
            helper.make_node("Constant", [], ["c"], value_string="text"),
            relu,
        ],
    }
    for message, nodes in cases.items():
        with pytest.raises(FileFormatError, match=message):
            from_onnx(save(path, nodes, []))
    model = onnx.load(str(save(path, [relu], [])))
    model.graph.input.append(helper.make_tensor_value_info("x2", FLOAT, (3,)))
    path.write_bytes(model.SerializeToString())
    with pytest.raises(FileFormatError, match="it has 2 inputs and 1 output, where one each"):
        from_onnx(path)
    del model.graph.input[1:]
    model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.INT64
    path.write_bytes(model.SerializeToString())
    with pytest.raises(FileFormatError, match=r"its input is no tensor of float32 or float64"):
        from_onnx(path)


def test_damaged_files_are_refused_or_give_a_network(tmp_path: Path) -> None:
    network, shape = trained("residual")
    path = tmp_path / "net.onnx"
    export(network, shape, path)
    whole, random = path.read_bytes(), np.random.RandomState(0)
    refused = 0
    for place in random.randint(0, len(whole), 150):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << random.randint(8)
        path.write_bytes(damaged if random.rand() < 0.7 else whole[:place])
        try:
            from_onnx(path)
        except (ConversionError, FileFormatError):
            refused += 1
    assert refused > 20


def test_without_the_package_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = linear(tmp_path, constant("w", WEIGHT))
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    with pytest.raises(ConversionError, match=r"the package onnx is needed; .*\[onnx\]"):
        from_onnx(path)


def edited(path: Path, edit: Callable[[Any], Any]) -> Path:
    """Save a file after a change of what is in it."""
    model = onnx.load(str(path))
    edit(model)
    path.write_bytes(model.SerializeToString())
    return path


def _version(model: Any, version: int) -> None:
    model.opset_import[0].version = version


TWO_MEANINGS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "weights twice": (
        lambda model: model.graph.initializer.append(constant("w", np.ones((4, 3), np.float32))),
        "it holds w twice",
    ),
    "an attribute twice": (
        lambda model: model.graph.node[0].attribute.append(helper.make_attribute("transB", 0)),
        "says an attribute twice",
    ),
    "old operators": (lambda model: _version(model, 6), "of version 6; read are 7 to"),
    "unknown operators": (lambda model: _version(model, 10_000), "of version 10000; read are 7"),
    "no version": (lambda model: model.ClearField("opset_import"), "of version none"),
}


@pytest.mark.parametrize("case", TWO_MEANINGS)
def test_a_file_that_could_mean_two_networks_is_refused(tmp_path: Path, case: str) -> None:
    edit, said = TWO_MEANINGS[case]
    node = helper.make_node("Gemm", ["x", "w"], ["y"], transB=1)
    path = save(tmp_path / "a.onnx", [node], [constant("w", np.ones((4, 3), np.float32))])
    assert isinstance(from_onnx(path), nn.Module)
    with pytest.raises(FileFormatError, match=re.escape(said)):
        from_onnx(edited(path, edit))


@pytest.mark.parametrize(
    ("kind", "inputs", "attributes", "said"),
    [
        ("Conv", ["x", "w"], {"strides": [0, 0]}, "has strides [0, 0]"),
        (
            "Conv",
            ["x", "w"],
            {"dilations": [1.5, 1.5]},
            "2 numbers up to 1024 are needed, whole ones from 1",
        ),
        ("Conv", ["x", "w"], {"kernel_shape": [5, 5]}, "has kernel_shape [5, 5], and weights of"),
        ("Concat", [], {"axis": 1}, "joins nothing"),
    ],
)
def test_numbers_that_make_no_layer_are_refused(
    tmp_path: Path, kind: str, inputs: list[str], attributes: dict[str, Any], said: str
) -> None:
    node = helper.make_node(kind, inputs, ["y"], **attributes)
    weights = constant("w", np.ones((4, 1, 3, 3), np.float32))
    path = save(tmp_path / "a.onnx", [node], [weights], ("n", 1, 8, 8))
    with pytest.raises(ConversionError, match=re.escape(said)):
        from_onnx(path)
