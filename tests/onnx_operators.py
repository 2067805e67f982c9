"""Small ONNX graphs, of which each operator that runs on the engine is in one: text of nodes, and their constants.

Inputs are "x", float32 (n, 4, 6, 8), "m", float32 (n, 8), "i", int64 (n, 5) of 0 to 4, and "b", bool (n, 8); the output
is "y".
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, TensorProto, helper, numpy_helper

Arrays = Mapping[str, np.ndarray]
NEWEST = onnx.defs.onnx_opset_version()
INPUTS = {
    "x": (TensorProto.FLOAT, ("n", 4, 6, 8)),
    "m": (TensorProto.FLOAT, ("n", 8)),
    "i": (TensorProto.INT64, ("n", 5)),
    "b": (TensorProto.BOOL, ("n", 8)),
}


@dataclass(frozen=True)
class Case:
    text: str
    constants: Mapping[str, Any] = field(default_factory=dict)
    opset: int = 17


def normal(*shape: int, seed: int = 7) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def positive(*shape: int) -> np.ndarray:
    return np.abs(normal(*shape)) + np.float32(0.5)


def ints(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.int64)


def whole(number: int) -> np.ndarray:
    return np.array(number, np.int64)


def floats(*numbers: float) -> np.ndarray:
    return np.array(numbers, np.float32)


def rounded(count: int) -> list[float]:
    return [round(float(each), 3) for each in normal(count)]


def number(value: float) -> np.ndarray:
    return np.array(value, np.float32)


def inputs(n: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(n)
    return {
        "x": random.standard_normal((n, 4, 6, 8)).astype(np.float32),
        "m": random.standard_normal((n, 8)).astype(np.float32),
        "i": random.integers(0, 5, (n, 5)),
        "b": random.random((n, 8)) < 0.5,
    }


def model_of(cases: Sequence[Case]) -> ModelProto:
    """One model of cases of one operator set, with an output for each."""
    nodes: list[onnx.NodeProto] = []
    constants: dict[str, np.ndarray] = {}
    for place, case in enumerate(cases):
        for line in filter(None, (each.strip() for each in case.text.split(";"))):
            node = onnx.parser.parse_node(line)
            for names in (node.input, node.output):
                names[:] = [name if name in INPUTS or not name else f"{name}_{place}" for name in names]
            node.name = f"{node.op_type}_{place}_{len(nodes)}"
            nodes.append(node)
        constants.update({f"{name}_{place}": np.asarray(value) for name, value in case.constants.items()})
    used = {name for node in nodes for name in node.input}
    ports = [helper.make_tensor_value_info(name, *kind) for name, kind in INPUTS.items() if name in used]
    outputs = [onnx.helper.make_empty_tensor_value_info(f"y_{place}") for place in range(len(cases))]
    initializers = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    graph = helper.make_graph(nodes, "graph", ports, outputs, initializers)
    opsets = [helper.make_opsetid("", cases[0].opset), helper.make_opsetid("ai.onnx.ml", 3)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8 if cases[0].opset < 21 else 10)


def _each(names: str, form: str = "y = {} (x)", opset: int = 17, **constants: Any) -> dict[str, Case]:
    return {name: Case(form.format(name), constants, opset) for name in names.split()}


def _attributes(
    name: str, *variants: str, of: str = "x", before: str = "", opset: int = 17, **constants: Any
) -> dict[str, Case]:
    return {
        f"{name} {each} of {of}": Case(f"{before}y = {name} {f'<{each}>' if each else ''} ({of})", constants, opset)
        for each in variants
    }


REDUCTIONS = (
    *("ReduceL1", "ReduceL2", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSumSquare"),
    "ReduceLogSumExp",
)

FAMILIES: dict[str, dict[str, Case]] = {
    "functions": {
        **_each(
            "Abs Ceil Cos Cosh Erf Exp Floor Identity IsNaN Neg Round Sigmoid Sign Sin Sinh Softplus Softsign Tan Tanh"
        ),
        **_each("Log Sqrt Reciprocal", "a = Abs (x); p = Add (a, half); y = {} (p)", half=number(0.5)),
        "IsInf": Case("d = Div (x, zero); y = IsInf (d)", {"zero": number(0)}),
        "IsInf of one sign": Case("d = Div (x, zero); y = IsInf <detect_negative = 0> (d)", {"zero": number(0)}),
    },
    "activations": {
        **_each("Relu HardSwish Celu Elu Selu LeakyRelu ThresholdedRelu HardSigmoid Shrink"),
        **_attributes("LeakyRelu", "alpha = 0.3"),
        **_attributes("Elu", "alpha = 0.7"),
        **_attributes("Celu", "alpha = 0.7"),
        **_attributes("Selu", "alpha = 1.5, gamma = 1.2"),
        **_attributes("HardSigmoid", "alpha = 0.16666667, beta = 0.5"),
        **_attributes("Shrink", "lambd = 0.4, bias = 0.4", "lambd = 0.4, bias = 0.1"),
        "PRelu of one": Case("y = PRelu (x, s)", {"s": floats(0.2)}),
        "PRelu by channel": Case("y = PRelu (x, s)", {"s": normal(4, 1, 1)}),
        "PRelu by place": Case("y = PRelu (x, s)", {"s": normal(4, 6, 8)}),
        "Clip": Case("y = Clip (x, low, high)", {"low": number(-0.5), "high": number(0.7)}),
        "Clip below": Case("y = Clip (x, low)", {"low": number(-0.5)}),
        "Clip above": Case("y = Clip (x, , high)", {"high": number(0.5)}),
        "Clip computed": Case("l = ReduceMin <keepdims = 0> (m); y = Clip (x, l)"),
        "Dropout": Case("y = Dropout (x)"),
        **_attributes("Softmax", "", "axis = 1"),
        **_attributes("LogSoftmax", "axis = -1", "axis = 2"),
        **_attributes("Hardmax", "axis = -1", "axis = 1"),
    },
    "newer activations": {
        **_attributes("Gelu", "", 'approximate = "tanh"', opset=20),
        **_attributes("Mish", "", opset=20),
    },
    "newest activations": _attributes("Swish", "", "alpha = 1.5", opset=24),
    "older activations": {
        **_attributes("Softmax", "", "axis = 3", "axis = 2", opset=11),
        **_attributes("LogSoftmax", "axis = 1", opset=11),
        **_attributes("Hardmax", "axis = 2", opset=11),
    },
    "oldest forms": {
        **_attributes("Clip", "min = -0.5, max = 0.7", "min = -0.5", "", opset=9),
        **_attributes(
            "Pad", "pads = [0,0,1,2,0,0,3,0], value = 0.5", 'pads = [0,0,1,2,0,0,3,0], mode = "edge"', opset=9
        ),
        **_attributes("Slice", "starts = [1, -3], ends = [4, 100], axes = [2, 3]", opset=9),
        "TopK by attribute": Case("y, z = TopK <k = 3> (x)", opset=9),
        **_attributes("Upsample", "", of="x, s", opset=9, s=floats(1, 1, 2, 3)),
        "Dropout with a ratio": Case("y, mask = Dropout <ratio = 0.4> (x)", opset=9),
        "Squeeze by attribute": Case(
            "s = Slice <starts = [0], ends = [1], axes = [2]> (x); y = Squeeze <axes = [2]> (s)", opset=9
        ),
        "Unsqueeze by attribute": Case("y = Unsqueeze <axes = [0, 3]> (x)", opset=9),
        "Split by attribute": Case("y, z = Split <axis = 3, split = [3, 5]> (x)", opset=9),
    },
    "older Upsample": _attributes("Upsample", "scales = [1.0, 1.0, 2.0, 2.0]", opset=7),
    "arithmetic": {
        **_each("Add Sub Mul Div", "y = {} (x, c)", c=positive(4, 1, 8)),
        **{
            f"{name} reversed": case
            for name, case in _each("Sub Div", "a = Abs (x); p = Add (a, c); y = {} (c, p)", c=number(2.0)).items()
        },
        "Pow": Case("a = Abs (x); y = Pow (a, c)", {"c": number(1.7)}),
        "Pow of whole numbers": Case("y = Pow (i, c)", {"c": whole(2)}),
        "Pow by a value": Case("a = Abs (x); t = Tanh (x); y = Pow (a, t)"),
        "Div of whole numbers": Case("s = Sub (i, two); y = Div (s, c)", {"c": ints(2, -2, 3, 1, -3), "two": whole(2)}),
        "Mod": Case("s = Sub (i, two); y = Mod (s, c)", {"c": ints(2, -2, 3, 1, -3), "two": whole(2)}),
        "Mod as in C": Case("y = Mod <fmod = 1> (x, c)", {"c": number(0.7)}),
        "Max": Case("t = Tanh (x); y = Max (x, t, c)", {"c": number(0.1)}),
        "Min": Case("t = Tanh (x); y = Min (x, t, c)", {"c": number(0.1)}),
        "Sum": Case("t = Tanh (x); y = Sum (x, t, x)"),
        "Mean": Case("t = Tanh (x); y = Mean (x, t, x)"),
        "Max of one": Case("y = Max (x)"),
    },
    "logic": {
        **_each("Equal Greater GreaterOrEqual Less LessOrEqual", "y = {} (i, two)", two=whole(2)),
        **_each("And Or Xor", "g = Greater (m, zero); y = {} (g, b)", zero=number(0)),
        "Not": Case("y = Not (b)"),
        "Where": Case("y = Where (b, m, c)", {"c": normal(8)}),
        "Cast to whole numbers": Case("y = Cast <to = 7> (x)"),
        "Cast to bool": Case("y = Cast <to = 9> (i)"),
        "Cast of bool": Case("y = Cast <to = 1> (b)"),
        "Cast to halves and back": Case("h = Cast <to = 10> (x); y = Cast <to = 1> (h)"),
        "CastLike": Case("y = CastLike (i, m)"),
    },
    "reductions": {
        **_attributes("ReduceSum", "", "keepdims = 0", of="x, a", a=ints(1, -1)),
        **{name: Case(f"y = {name} <axes = [1, -1]> (x)") for name in REDUCTIONS},
        "ReduceLogSum": Case("a = Abs (x); y = ReduceLogSum <axes = [2], keepdims = 0> (a)"),
        "ReduceMean of all but the batch": Case("y = ReduceMean <axes = [1, 2, 3], keepdims = 0> (x)"),
        "ReduceSum of nothing": Case("y = ReduceSum <noop_with_empty_axes = 1> (x)"),
        "ReduceSum of whole numbers": Case("y = ReduceSum (i, a)", {"a": ints(1)}),
        "ReduceMax of whole numbers": Case("y = ReduceMax <axes = [1]> (i)"),
        **_attributes("ArgMax", "axis = 1", "axis = -1, keepdims = 0", of="x"),
        **_attributes("ArgMin", "axis = 2", of="x"),
        **_attributes("ArgMax", "axis = 1, select_last_index = 1", "axis = 1", of="i"),
        "TopK": Case("y, z = TopK (x, k)", {"k": ints(3)}),
        "TopK of the least": Case("z, y = TopK <axis = 1, largest = 0> (x, k)", {"k": ints(2)}),
        **_attributes(
            "CumSum", "", "exclusive = 1", "reverse = 1", "exclusive = 1, reverse = 1", of="x, a", a=whole(1)
        ),
    },
    "newer reductions": {name: Case(f"y = {name} <keepdims = 0> (x, a)", {"a": ints(2, 3)}, 18) for name in REDUCTIONS},
    "reductions of truths": {
        **_each("ReduceMax ReduceMin", "y = {} <keepdims = 0> (b, a)", 20, a=ints(1)),
    },
    "shapes": {
        "Reshape": Case("y = Reshape (x, s)", {"s": ints(0, 24, -1)}),
        "Reshape by computed sizes": Case(
            "s = Shape (x); n = Slice (s, zero, one); t = Concat <axis = 0> (n, rest); y = Reshape (x, t)",
            {"zero": ints(0), "one": ints(1), "rest": ints(-1, 8)},
        ),
        "Reshape by a product": Case(
            "s = Shape (x); p = ReduceProd <axes = [0], keepdims = 1> (s); d = Div (p, eight);"
            " t = Concat <axis = 0> (d, eight); y = Reshape (x, t)",
            {"eight": ints(8)},
        ),
        **_attributes("Flatten", "", "axis = 2", "axis = -1", "axis = 0"),
        **_attributes("Transpose", "", "perm = [0, 2, 3, 1]"),
        "Squeeze": Case("s = Unsqueeze (x, a); y = Squeeze (s, a)", {"a": ints(2)}),
        "Unsqueeze": Case("y = Unsqueeze (x, a)", {"a": ints(1, -1)}),
        **_attributes("Concat", "axis = 1", "axis = -1", of="x, t, x", before="t = Tanh (x); "),
        "Split": Case("y, z = Split <axis = 3> (x, s)", {"s": ints(3, 5)}),
        "Split evenly": Case("z, y = Split <axis = 2> (x)"),
        "Slice": Case("y = Slice (x, s, e, a)", {"s": ints(1, -5), "e": ints(2**62, -1), "a": ints(2, 3)}),
        "Slice in steps": Case(
            "y = Slice (x, s, e, a, t)", {"s": ints(1, 0), "e": ints(6, 8), "a": ints(2, 3), "t": ints(2, 3)}
        ),
        "Slice backwards": Case(
            "y = Slice (x, s, e, a, t)", {"s": ints(-1), "e": ints(-(2**63)), "a": ints(3), "t": ints(-1)}
        ),
        "Slice backwards in steps": Case(
            "y = Slice (x, s, e, a, t)", {"s": ints(6), "e": ints(1), "a": ints(3), "t": ints(-2)}
        ),
        "Expand": Case("r = Unsqueeze (m, a); y = Expand (r, s)", {"a": ints(1), "s": ints(3, 1)}),
        "Expand to computed sizes": Case("s = Shape (x); y = Expand (c, s)", {"c": normal(1, 4, 1, 8)}),
        "Tile": Case("y = Tile (m, s)", {"s": ints(1, 3)}),
        "Pad": Case("y = Pad (x, p, v)", {"p": ints(0, 0, 1, 2, 0, 0, 3, 0), "v": number(0.5)}),
        "Pad less": Case("y = Pad (x, p)", {"p": ints(0, 0, -1, 2, 0, 0, 3, -2)}),
        **_attributes("Pad", 'mode = "reflect"', 'mode = "edge"', of="x, p", p=ints(0, 0, 1, 2, 0, 0, 3, 0)),
        **_attributes("DepthToSpace", "blocksize = 2", 'blocksize = 2, mode = "CRD"'),
        **_attributes("SpaceToDepth", "blocksize = 2"),
        **_attributes("Trilu", "", "upper = 0"),
        "Trilu beside": Case("y = Trilu <upper = 0> (x, k)", {"k": whole(-1)}),
        "Shape": Case(
            "s = Shape (x); f = Cast <to = 1> (s); c = Gather (f, three); y = Mul (m, c)", {"three": whole(3)}
        ),
        "Shape of a part": Case(
            "s = Shape <start = 1, end = 3> (x); f = Cast <to = 1> (s); r = ReduceSum (f); y = Mul (m, r)"
        ),
        "Size": Case("s = Size (x); y = Add (i, s)"),
        "ConstantOfShape": Case("s = Shape (m); c = ConstantOfShape (s); y = Add (m, c)"),
        "Range": Case(
            "s = Shape (m); n = Gather (s, zero); r = Range (zero, n, one); u = Unsqueeze (r, a); y = Add (i, u)",
            {"zero": whole(0), "one": whole(1), "a": ints(1)},
        ),
        "EyeLike": Case("e = EyeLike <k = 1> (c); y = MatMul (m, e)", {"c": normal(8, 8)}),
        "EyeLike of a value": Case("y = EyeLike <k = -1> (m)"),
    },
    "shapes of several items": {"Squeeze all": Case("s = Unsqueeze (x, a); y = Squeeze (s)", {"a": ints(0, 3)})},
    "newer shapes": {
        "Split into parts": Case("a, b, y = Split <axis = 3, num_outputs = 3> (x)", {}, 18),
        "Pad of axes": Case("y = Pad (x, p, , a)", {"p": ints(1, 2), "a": ints(3)}, 18),
        "Pad around": Case('y = Pad <mode = "wrap"> (x, p, , a)', {"p": ints(1, 2), "a": ints(3)}, 19),
    },
    "indexing": {
        "Gather one": Case("y = Gather <axis = 2> (x, k)", {"k": whole(-2)}),
        "Gather some": Case("y = Gather <axis = 3> (x, k)", {"k": ints(0, 3, -1)}),
        "Gather a matrix": Case("y = Gather <axis = 1> (x, k)", {"k": np.array([[0, 3], [2, 1]], np.int64)}),
        "Gather rows": Case("y = Gather (w, i)", {"w": normal(5, 7)}),
        "Gather numbers": Case("y = Gather (w, i)", {"w": normal(5)}),
        "Gather from a value": Case("y = Gather <axis = 1> (m, k)", {"k": np.array([[1, 2], [0, 7]], np.int64)}),
        "GatherElements": Case("y = GatherElements <axis = 1> (m, i)"),
        "GatherElements by constants": Case(
            "n = Slice (m, zero, one); y = GatherElements <axis = 1> (n, k)",
            {"k": np.array([[-1, 2, 0]], np.int64), "zero": ints(0), "one": ints(1)},
        ),
        "GatherND": Case(
            "t = Transpose <perm = [1, 2, 3, 0]> (x); y = GatherND (t, k)", {"k": np.array([[0, 2], [3, -1]], np.int64)}
        ),
        "ScatterElements": Case(
            "r = Slice (m, zero, one); y = ScatterElements <axis = 1> (r, k, v)",
            {"k": np.array([[-1, 3, 5]], np.int64), "v": normal(1, 3), "zero": ints(0), "one": ints(1)},
        ),
        "ScatterND": Case(
            "t = Transpose (m); r = Gather (t, k); y = ScatterND (t, p, r)",
            {"k": ints(1, 4), "p": ints(2, 5).reshape(2, 1)},
        ),
        **_attributes("OneHot", "", "axis = 1", of="i, d, v", d=whole(5), v=floats(-1, 2)),
        "OneHot of negative places": Case("n = Neg (i); y = OneHot (n, d, v)", {"d": ints(6), "v": floats(0, 1)}),
        "Col2Im": Case(
            "f = Reshape (x, s); y = Col2Im (f, z, k)", {"s": ints(0, 16, 12), "z": ints(4, 5), "k": ints(2, 2)}, 18
        ),
    },
    "products": {
        "MatMul": Case("y = MatMul (m, w)", {"w": normal(8, 5)}),
        "MatMul over more dimensions": Case("y = MatMul (x, w)", {"w": normal(8, 5)}),
        "MatMul by a matrix each": Case("y = MatMul (x, w)", {"w": normal(4, 8, 5)}),
        "MatMul of values": Case("t = Transpose <perm = [0, 1, 3, 2]> (x); y = MatMul (x, t)"),
        "MatMul with weights on the left": Case("y = MatMul (w, x)", {"w": normal(5, 6)}),
        "Gemm": Case("y = Gemm (m, w, c)", {"w": normal(8, 5), "c": normal(5)}),
        "Gemm turned": Case("y = Gemm <transB = 1> (m, w)", {"w": normal(5, 8)}),
        "Gemm with factors": Case(
            "y = Gemm <alpha = 0.5, beta = 2.0> (m, w, c)", {"w": normal(8, 5), "c": normal(1, 5)}
        ),
        "Gemm of a turned value": Case(
            "t = Transpose (m); y = Gemm <transA = 1, alpha = 0.3> (t, w, c)", {"w": normal(8, 5), "c": number(0.4)}
        ),
        "Gemm of values": Case("n = Add (m, one); y = Gemm <transB = 1, alpha = 2.0> (m, n)", {"one": number(1)}),
        "Einsum": Case('y = Einsum <equation = "nchw,wk->nhck"> (x, w)', {"w": normal(8, 5)}),
    },
    "convolutions": {
        **_attributes(
            "Conv",
            "",
            "pads = [1, 1, 1, 1], strides = [2, 1]",
            "pads = [0, 2, 1, 0]",
            "dilations = [2, 1]",
            'auto_pad = "SAME_UPPER", strides = [2, 2]',
            'auto_pad = "SAME_LOWER"',
            'auto_pad = "VALID"',
            of="x, w, c",
            w=normal(5, 4, 3, 2),
            c=normal(5),
        ),
        "Conv in groups": Case("y = Conv <group = 2> (x, w)", {"w": normal(6, 2, 3, 3)}),
        "Conv of each channel": Case("y = Conv <group = 4, pads = [1, 1, 1, 1]> (x, w)", {"w": normal(4, 1, 3, 3)}),
        "Conv over rows": Case(
            "r = Reshape (x, s); y = Conv <pads = [1, 1]> (r, w)", {"s": ints(0, 4, 48), "w": normal(5, 4, 3)}
        ),
        "Conv over volumes": Case("r = Unsqueeze (x, a); y = Conv (r, w)", {"a": ints(1), "w": normal(5, 1, 2, 3, 3)}),
        **_attributes(
            "ConvTranspose",
            "",
            "strides = [2, 2], pads = [1, 1, 1, 1], output_padding = [1, 1]",
            "strides = [2, 2], pads = [0, 1, 1, 0]",
            "strides = [2, 3], output_shape = [14, 25]",
            'strides = [2, 3], auto_pad = "SAME_UPPER"',
            'strides = [2, 3], auto_pad = "SAME_LOWER"',
            "dilations = [2, 1]",
            of="x, w, c",
            w=normal(4, 5, 3, 3),
            c=normal(5),
        ),
        "ConvTranspose in groups": Case(
            "y = ConvTranspose <group = 2, strides = [2, 2]> (x, w)", {"w": normal(4, 3, 2, 2)}
        ),
    },
    "pools": {
        **_attributes(
            "MaxPool",
            "kernel_shape = [2, 2], strides = [2, 2]",
            "kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 1, 1]",
            "kernel_shape = [3, 3], strides = [2, 2], pads = [0, 0, 1, 1]",
            "kernel_shape = [3, 3], strides = [2, 2], ceil_mode = 1",
            "kernel_shape = [2, 2], dilations = [2, 2]",
            'kernel_shape = [3, 3], strides = [2, 2], auto_pad = "SAME_UPPER"',
        ),
        **_attributes(
            "AveragePool",
            "kernel_shape = [2, 2], strides = [2, 2]",
            "kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 1, 1]",
            "kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 1, 1], count_include_pad = 1",
            "kernel_shape = [3, 3], strides = [2, 2], pads = [0, 0, 1, 1]",
            "kernel_shape = [3, 3], strides = [2, 2], pads = [0, 0, 1, 1], count_include_pad = 1",
            'kernel_shape = [3, 3], strides = [2, 2], auto_pad = "SAME_LOWER"',
        ),
        **_each("GlobalAveragePool GlobalMaxPool GlobalLpPool"),
        **_attributes("LpPool", "kernel_shape = [2, 3], p = 2"),
        "MaxPool over rows": Case(
            "r = Reshape (x, s); y = MaxPool <kernel_shape = [4], strides = [2]> (r)", {"s": ints(0, 4, 48)}
        ),
        "GlobalAveragePool of rows": Case("r = Reshape (x, s); y = GlobalAveragePool (r)", {"s": ints(0, 4, 48)}),
    },
    "norms": {
        "BatchNormalization": Case(
            "y = BatchNormalization (x, s, c, u, v)", {"s": normal(4), "c": normal(4), "u": normal(4), "v": positive(4)}
        ),
        "InstanceNormalization": Case("y = InstanceNormalization (x, s, c)", {"s": normal(4), "c": normal(4)}),
        "LayerNormalization": Case("y = LayerNormalization (x, s, c)", {"s": normal(8), "c": normal(8)}),
        "LayerNormalization over two": Case(
            "y = LayerNormalization <axis = 2, epsilon = 0.01> (x, s)", {"s": normal(6, 8)}
        ),
        "LayerNormalization, broadcast": Case(
            "y = LayerNormalization <axis = 2> (x, s, c)", {"s": normal(8), "c": normal(6, 1)}
        ),
        **_attributes("LRN", "size = 3", "size = 5, alpha = 0.3, beta = 0.6, bias = 2.0"),
        **_attributes("LpNormalization", "", "axis = 1, p = 1"),
        **_attributes("MeanVarianceNormalization", "", "axes = [1, 2]"),
    },
    "newer norms": {
        "GroupNormalization": Case(
            "y = GroupNormalization <num_groups = 2> (x, s, c)", {"s": normal(4), "c": normal(4)}, 21
        ),
    },
    "GroupNormalization by group": {
        "GroupNormalization": Case(
            "y = GroupNormalization <num_groups = 2> (x, s, c)", {"s": normal(2), "c": normal(2)}, 18
        ),
    },
    "newest norms": {
        "RMSNormalization": Case("y = RMSNormalization (x, s)", {"s": normal(8)}, 23),
        "RMSNormalization over two": Case("y = RMSNormalization <axis = 2> (x, s)", {"s": normal(6, 8)}, 23),
    },
    "attention": {
        **_attributes("Attention", "", "is_causal = 1", "scale = 0.3", of="x, t, x", before="t = Tanh (x); ", opset=23),
        "Attention with a mask": Case("t = Tanh (x); y = Attention (x, t, x, k)", {"k": normal(6, 6)}, 23),
        "Attention with a causal mask": Case(
            "t = Tanh (x); y = Attention <is_causal = 1> (x, t, x, k)", {"k": normal(6, 6) > -1 + np.eye(6)}, 23
        ),
        "Attention of flat heads": Case(
            "f = Reshape (x, s); t = Tanh (f); y = Attention <q_num_heads = 4, kv_num_heads = 4> (f, t, f)",
            {"s": ints(0, 6, 32)},
            23,
        ),
        "Attention of shared heads": Case(
            "t = Slice (x, z, w, a); y = Attention (x, t, t)", {"z": ints(0), "w": ints(2), "a": ints(1)}, 23
        ),
    },
    "resizing": {
        **{
            f"Resize {mode} {places} {rounding} {scales}": Case(
                f'y = Resize <mode = "{mode}", coordinate_transformation_mode = "{places}"{rounding}> (x, , s)',
                {"s": floats(1, 1, *scales)},
            )
            for mode, places, rounding, scales in (
                ("nearest", "asymmetric", ', nearest_mode = "floor"', (2, 3)),
                ("nearest", "asymmetric", ', nearest_mode = "floor"', (0.5, 0.7)),
                ("nearest", "asymmetric", ', nearest_mode = "ceil"', (1.6, 0.7)),
                ("nearest", "half_pixel", "", (2, 2)),
                ("nearest", "half_pixel", "", (0.5, 1.6)),
                ("nearest", "half_pixel", ', nearest_mode = "round_prefer_ceil"', (1.6, 0.7)),
                ("nearest", "align_corners", "", (2, 1.6)),
                ("linear", "half_pixel", "", (2, 2)),
                ("linear", "half_pixel", "", (1.6, 0.7)),
                ("linear", "pytorch_half_pixel", "", (2, 0.5)),
                ("linear", "align_corners", "", (2, 3)),
                ("linear", "asymmetric", "", (2, 1.6)),
                ("cubic", "half_pixel", "", (2, 2)),
                ("cubic", "align_corners", "", (2, 2)),
                ("cubic", "half_pixel", ", cubic_coeff_a = -0.5, exclude_outside = 1", (2, 1.6)),
            )
        },
        "Resize to computed sizes": Case(
            "h = Shape (x); n = Slice (h, zero, two); t = Concat <axis = 0> (n, s);"
            ' y = Resize <mode = "linear"> (x, , , t)',
            {"zero": ints(0), "two": ints(2), "s": ints(9, 12)},
        ),
        "Resize over rows": Case(
            'r = Reshape (x, t); y = Resize <mode = "linear"> (r, , s)', {"t": ints(0, 4, 48), "s": floats(1, 1, 2)}
        ),
    },
    "newer resizing": {
        "Resize of axes": Case('y = Resize <mode = "linear", axes = [2, 3]> (x, , , s)', {"s": ints(9, 12)}, 18),
        "Resize symmetrically": Case(
            'y = Resize <mode = "linear", coordinate_transformation_mode = "half_pixel_symmetric"> (x, , s)',
            {"s": floats(1, 1, 1.6, 2)},
            19,
        ),
    },
    "sampling": {
        "GridSample": Case(
            "g = Slice (x, z, t, a); p = Transpose <perm = [0, 2, 3, 1]> (g); y = GridSample (x, p)",
            {"z": ints(0), "t": ints(2), "a": ints(1)},
            16,
        ),
    },
    "bytes": {
        "QuantizeLinear": Case(
            "q = QuantizeLinear (x, s, z); y = Cast <to = 1> (q)", {"s": number(0.02), "z": np.array(120, np.uint8)}
        ),
        "QuantizeLinear by channel": Case(
            "q = QuantizeLinear (x, s, z); y = Cast <to = 1> (q)",
            {"s": positive(4) / 50, "z": np.arange(4, dtype=np.int8)},
        ),
        "DequantizeLinear": Case(
            "q = Cast <to = 3> (i); y = DequantizeLinear (q, s, z)", {"s": number(0.1), "z": np.array(3, np.int8)}
        ),
        "DequantizeLinear of weights": Case(
            "w = DequantizeLinear <axis = 1> (k, s, z); y = MatMul (m, w)",
            {"k": np.arange(40, dtype=np.int8).reshape(8, 5), "s": positive(5), "z": np.arange(5, dtype=np.int8)},
        ),
        "saturation": Case(
            "q = QuantizeLinear (x, s, z); y = DequantizeLinear (q, s, z)",
            {"s": number(0.004), "z": np.array(0, np.uint8)},
        ),
        "MatMulInteger": Case(
            "q = Cast <to = 2> (i); p = MatMulInteger (q, w, z, u); y = Cast <to = 1> (p)",
            {
                "w": np.arange(15, dtype=np.int8).reshape(5, 3),
                "z": np.array(3, np.uint8),
                "u": np.arange(3, dtype=np.int8),
            },
        ),
        "ConvInteger": Case(
            "c = Mul (x, e); a = Abs (c); q = Cast <to = 2> (a); p = ConvInteger <pads = [1, 1, 1, 1]> (q, w, z);"
            " y = Cast <to = 1> (p)",
            {"e": number(20), "w": np.arange(72, dtype=np.uint8).reshape(2, 4, 3, 3), "z": np.array(3, np.uint8)},
        ),
        "DynamicQuantizeLinear": Case(
            "q, s, z = DynamicQuantizeLinear (m); p = MatMulInteger (q, w, z); f = Cast <to = 1> (p); y = Mul (f, s)",
            {"w": np.arange(-20, 20, dtype=np.int8).reshape(8, 5)},
        ),
    },
    "classical": {
        "Scaler": Case(
            f"y = ai.onnx.ml.Scaler <offset = {[each / 8 for each in range(8)]},"
            f" scale = {[each / 2 for each in range(8)]}> (m)"
        ),
        "Scaler of one": Case("y = ai.onnx.ml.Scaler <offset = [0.1], scale = [2.0]> (m)"),
        **{
            f"Normalizer {norm}": Case(f'y = ai.onnx.ml.Normalizer <norm = "{norm}"> (m)')
            for norm in ("L1", "L2", "MAX")
        },
        "Binarizer": Case("y = ai.onnx.ml.Binarizer <threshold = 0.3> (m)"),
        "FeatureVectorizer": Case("y = ai.onnx.ml.FeatureVectorizer <inputdimensions = [8, 8]> (m, m)"),
        "ArrayFeatureExtractor": Case("y = ai.onnx.ml.ArrayFeatureExtractor (m, k)", {"k": ints(3, 0)}),
        "LinearRegressor": Case(
            f"y = ai.onnx.ml.LinearRegressor <coefficients = {rounded(16)}, intercepts = [0.5, -1.0], targets = 2> (m)"
        ),
        **{
            f"LinearClassifier {transform} of {classes}": Case(
                f"l, z = ai.onnx.ml.LinearClassifier <coefficients = {rounded(8 * classes)},"
                f" intercepts = {[0.5, -1.0, 0.1][:classes]}, classlabels_ints = {[3, 5, 9][:classes]},"
                f' post_transform = "{transform}"> (m); f = Cast <to = 1> (l); u = Unsqueeze (f, a);'
                " y = Concat <axis = 1> (u, z)",
                {"a": ints(1)},
            )
            for classes in (2, 3)
            for transform in ("NONE", "SOFTMAX", "LOGISTIC")
        },
    },
}
