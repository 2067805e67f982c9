"""Values that are wrong, for every argument of every command, and what is said of them."""

import re

RIGHT = {  # a line for each command that would do its work in the folder below
    "inspect": "model",
    "report": "metrics.json",
    "run": "model --input x.npy --output y.npy",
    "sparsify": "made.py:batches --out new",
    "deploy": "made.py:make --out new",
    "export": "model --to c --out new",
    "time": "model",
    "onnx pack": "model.onnx --out new",
    "completion": "bash",
}

LONG = "long" * 100  # no file can have this name
NO_FOLDER = ("no/new", r"out='no/new': there is no folder 'no'; make it, or name another file")
IN_A_FILE = ("text/new", r"out='text/new': there is no folder 'text'; make it, or name another file")
IS_THERE = ("text", r"out='text': it is there already; pass --force to replace it, or name another file")
DIRECTORY = ("folder", r"out='folder': it is a directory; name a file")
NO_NAME = ("a\0b", r"'a\\x00b' could not be written \(embedded null byte\): make room or choose another path")
TOO_LONG = (LONG, r"could not be written \(File name too long\): make room or choose another path")
REPLACING = [  # of commands that replace a file unasked
    NO_FOLDER,
    IN_A_FILE,
    DIRECTORY,
    ("", r"out='\.': it is a directory; name a file"),
    NO_NAME,
    TOO_LONG,
]
NEW_FILE = [
    IS_THERE,
    ("folder --force", DIRECTORY[1]),
    ("nowhere", r"out='nowhere': it is there already"),
    *REPLACING,
]
MODEL = [
    ("absent", r"could not read 'absent' \(No such file or directory\): name a deployed model"),
    ("folder", r"could not read 'folder' \(Is a directory\): name a deployed model"),
    ("", r"could not read '\.' \(Is a directory\): name a deployed model"),
    ("a\0b", r"could not read 'a\\x00b' \(embedded null byte\): name a deployed model"),
    ("absent\nline", r"could not read 'absent\\nline' \(No such file or directory\)"),
    (LONG, r"File name too long"),
    ("text", r"text: it has 5 bytes, fewer than a header; the file is damaged or was not written by Sparbor"),
    ("empty", r"empty: it has 0 bytes, fewer than a header"),
    ("x.npy", r"x\.npy: the header claims \d+ bytes, .*; the file is damaged or was not written by Sparbor"),
    ("model.onnx", r"model\.onnx: the header claims \d+ bytes"),
]
THREADS = [
    (number, rf"threads={number}: it must be a whole number from 1 to 256") for number in ("0", "-1", "257", "9" * 30)
]
ONNX = [
    ("absent", r"'absent' is no file: name an ONNX model"),
    ("a\0b", r"'a\\x00b' is no file"),
    (LONG, r"is no file"),
    ("text", r"'text' cannot be read as an ONNX model \(.*\): export the model again"),
    ("model", r"'model' cannot be read as an ONNX model"),
    ("empty", r"'empty' has no nodes: pass an ONNX model"),
]
FUNCTION = [
    ("absent.py:make", r"'absent\.py' is no file: name a Python file and a function in it, FILE\.py:NAME"),
    ("made.py", r"'made\.py' has no function '': name one, FILE\.py:NAME"),
    ("made.py:", r"'made\.py' has no function '': name one"),
    ("made.py:mak", r"'made\.py' has no function 'mak': name one"),
    ("made.py:NUMBER", r"'made\.py' has no function 'NUMBER': name one"),
    ("made.py:alone", r"made\.py:alone returned a Linear: it must return the model and "),
    ("made.py:raises", r"'made\.py' ends with ValueError in line 15: mine; mend it, or name another file"),
    ("made.py:ends", r"'made\.py' ends with SystemExit in line 18: 0; mend it"),
    ("made.py:takes_one", r"'made\.py' ends with TypeError: takes_one\(\) missing 1 required positional argument"),
    ("syntax.py:make", r"'syntax\.py' ends with SyntaxError: .* \(syntax\.py, line 1\); mend it"),
    ("nul.py:make", r"'nul\.py' ends with SyntaxError: source code"),
    ("raises.py:make", r"'raises\.py' ends with ZeroDivisionError in line 2: division by zero; mend it"),
    ("imports.py:make", r"'imports\.py' ends with ModuleNotFoundError in line 1: No module named 'no_such_module'"),
]
HUGGING_FACE = [
    ("folder", r"'folder' has no config\.json, so it is no directory of Hugging Face's: name one, or a function that"),
    ("other", r"'other': transformers cannot load it \(.*\): save the model again; on the command line, name a func"),
]

# By command and argument: values that are wrong, perhaps with options behind them, and what is said of them.
WRONG: dict[str, dict[str, list[tuple[str, str]]]] = {
    "inspect": {"FILE": MODEL},
    "report": {
        "METRICS": [
            (
                "absent",
                r"metrics='absent': cannot be read \(No such file or directory\); name the metrics\.json of a run",
            ),
            ("folder", r"metrics='folder': cannot be read \(Is a directory\); name the metrics\.json"),
            ("", r"metrics='\.': cannot be read \(Is a directory\)"),
            ("a\0b", r"metrics='a\\x00b': cannot be read \(embedded null byte\)"),
            (LONG, r"cannot be read \(File name too long\)"),
            (
                "text",
                r"metrics='text': is not JSON \(Expecting value: .*\); name the metrics\.json of a run that ended",
            ),
            ("model", r"metrics='model': is not JSON"),
            ("other/config.json", r"metrics='other/config\.json': has no version"),
        ],
        "--out": [
            *(case for case in REPLACING if case not in (NO_NAME, TOO_LONG)),  # the system's words come behind the page
            ("metrics.json", r"out='metrics\.json': that is what is read; name another place"),
            ("model.safetensors", r"out='model\.safetensors': that is what is read; name another place"),
        ],
    },
    "run": {
        "FILE": MODEL,
        "--input": [
            (
                "absent",
                r"input='absent': cannot be read as a \.npy array \(No such file or directory\); write one with",
            ),
            ("folder", r"input='folder': cannot be read as a \.npy array \(Is a directory\)"),
            ("a\0b", r"input='a\\x00b': cannot be read as a \.npy array \(embedded null byte\)"),
            ("text", r"input='text': not a \.npy file; write one with numpy\.save"),
            ("x.npz", r"input='x\.npz': not a \.npy file; write one with numpy\.save"),
            ("objects.npy", r"input='objects\.npy': cannot be read as a \.npy array \(Object arrays cannot be loaded"),
            ("header.npy", r"input='header\.npy': cannot be read as a \.npy array \(.*\); write one with numpy\.save"),
            ("whole.npy", r"input='whole\.npy': x is int64, and this model takes float32: "),
            ("narrow.npy", r"input='narrow\.npy': x has shape \(2, 7\): this model's is \(batch, 784\)"),
            ("none.npy", r"input='none\.npy': x is an empty batch: pass at least one item"),
        ],
        "--output": [
            *REPLACING,
            ("x.npy", r"out='x\.npy': that is what is read; name another place for what is written"),
            ("./model", r"out='model': that is what is read; name another place"),
        ],
        "--threads": THREADS,
    },
    "sparsify": {
        "MODEL": [
            *FUNCTION,
            *((f"{value} --texts texts", said) for value, said in HUGGING_FACE),
            ("absent --texts texts", r"'absent' has no config\.json, so it is no directory of Hugging Face's"),
            (f"{LONG} --texts texts", r"has no config\.json"),
            ("encoder", r"texts is missing: a directory's model needs --texts FILE, some hundred texts, a line each"),
            ("wordless --texts texts", r"'wordless' has no tokenizer: write a function that returns the model and bat"),
            ("made.py:no_batches", r"batches"),
            ("made.py:other_batches", r"batches\[0\] does not run through the model, .*: each batch must be what the"),
            ("made.py:unknown_operator", r"Fourier has no layer that can become dendritic: it has no parameters"),
        ],
        "--out": [
            ("text", r"out='text': 'text' is a file; name a directory"),
            ("text --force", r"out='text': 'text' is a file; name a directory"),
            ("text/new", r"out='text/new': '.*text' is a file; name a directory"),
            ("full", r"out='full': there is something already; pass --force, or another directory"),
            ("", r"out='\.': there is something already; pass --force, or another directory"),
            ("nowhere", r"out='nowhere': 'nowhere' is a file; name a directory"),
            (
                "a\0b",
                r"files could not be written to 'a\\x00b' \(embedded null byte\): make room or choose another dir",
            ),
            (LONG, r"\(File name too long\): make room or choose another directory"),
            ("new/below --sparsity=2", r"sparsity=2\.0"),
        ],
        "--texts": [
            ("texts", r"texts='texts': is for a directory's model; leave --texts out"),
            ("absent", r"texts='absent': cannot be read as lines of text \(.*No such file or directory"),
            ("folder", r"texts='folder': cannot be read as lines of text \(.*Is a directory"),
            ("a\0b", r"texts='a\\x00b': cannot be read as lines of text \(embedded null byte\)"),
            ("model", r"texts='model': cannot be read as lines of text \('utf-8' codec can't decode"),
            ("empty", r"texts='empty': has no text; write one into each line"),
        ],
        "--sparsity": [
            (value, rf"sparsity={value}(\.0)?: must be at least 0 and below 1, the share of weights to drop")
            for value in ("1", "-0.1", "1.5", "nan", "inf", "-inf")
        ],
    },
    "deploy": {
        "MODEL": [
            *FUNCTION,
            *HUGGING_FACE,
            *ONNX,
            ("unknown.onnx", r"the model has operators that cannot run on the engine: Frobnicate: keep this model in"),
            ("made.py:other_example", r"torch\.export could not trace the model for items of shape \(31,\)"),
            ("made.py:text_as_example", r"example is a str: pass one input as a tensor, several as"),
            ("made.py:unknown_operator", r"the engine lacks 2 things that the model does: .*_fft_r2c"),
        ],
        "--out": [*NEW_FILE, ("made.py --force", r"out='made\.py': that is what is read; name another place")],
    },
    "export": {
        "FILE": MODEL,
        "--out": [
            ("text", r"out='text' is not a directory to write to \(Not a directory\): name another"),
            ("text --force", r"out='text' is not a directory to write to \(Not a directory\): name another"),
            ("text/new", r"files could not be written to 'text/new' \(Not a directory\): make room or choose another"),
            ("full", r"out='full' has files already, such as a: name another directory, or pass --force"),
            ("nowhere", r"out='nowhere' is not a directory to write to"),
            ("a\0b", r"files could not be written to 'a\\x00b' \(embedded null byte\)"),
            (LONG, r"files could not be written to .* \(File name too long\)"),
            ("model --to onnx --force", r"out='model': that is what is read; name another place"),
            *((f"{value} --to onnx", said) for value, said in NEW_FILE),
            ("new --sparse", r"sparse is for to='onnx': plain C is sparse as it is, leave --sparse out"),
        ],
        "--name": [
            *(
                (name, rf"name={re.escape(repr(name))}: it is not a C identifier: .*pass another")
                for name in ("2", "é")
            ),
            ("int", r"name='int': it is a keyword of C or C\+\+; pass another with --name, such as 'digits'"),
            ("a\x1bb", r"name='a\\x1bb': it is not a C identifier"),
            ("'' --to onnx", r"name='': a graph's name is of printable characters; pass another with --name"),
            ("a\x1bb --to onnx", r"name='a\\x1bb': a graph's name is of printable characters"),
            ("\udce9 --to onnx", r"name='\\udce9': a graph's name is of printable characters"),
        ],
    },
    "time": {
        "FILE": MODEL,
        "--batch": [
            *((value, rf"batch={value}: must be at least 1, the items in one call") for value in ("0", "-1")),
            *((v, rf"batch={v}: too many for this machine's memory; pass fewer") for v in ("1" + "0" * 12, "9" * 30)),
        ],
        "--threads": THREADS,
    },
    "onnx pack": {
        "FILE": [*ONNX, ("folder", r"'folder' is no file"), ("unknown.onnx", r"has no MatMul, Gemm or Conv: there is")],
        "--out": [
            *NEW_FILE,
            ("model.onnx --force", r"out='model\.onnx': that is what is read; name another place"),
            ("x.npz --force --inputs x.npz", r"out='x\.npz': that is what is read; name another place"),
        ],
        "--min-sparsity": [
            *(
                (value, rf"min_sparsity={value}(\.0)?: it must be a share of zeros, above 0 and at most 1")
                for value in ("0", "-1", "1.5", "nan", "inf", "-inf")
            ),
            ("0.99", r"no layer can be packed: .*pass a smaller min_sparsity than 0\.99"),
        ],
        "--inputs": [
            (value, rf"inputs={re.escape(repr(value))}: cannot be read as a \.npz file; write one with numpy\.savez")
            for value in ("absent", "folder", "a\0b", "text", "empty", "x.npy")
        ]
        + [("other.npz", r"the original does not run on the inputs: ")],
    },
    "completion": {},
}
