// Runs a packed ONNX model in ONNX Runtime from Node: one input of floats, filled with ones, and one output.
//
//     npm install onnxruntime-node
//     LD_PRELOAD="$(python -c 'from sparbor.onnxruntime import preload_path; print(preload_path())')" \
//       node onnxruntime.mjs MODEL.onnx
//
// onnxruntime-node has no option for a library of operators: the one that is loaded first gives every session ours.
import ort from 'onnxruntime-node';

const session = await ort.InferenceSession.create(process.argv[2]);
const [input] = session.inputMetadata;
const shape = input.shape.map((size) => (typeof size === 'number' && size > 0 ? size : 1)); // a name: of any size
const ones = new Float32Array(shape.reduce((product, size) => product * size, 1)).fill(1);
const answers = await session.run({ [input.name]: new ort.Tensor('float32', ones, shape) });
for (const number of answers[session.outputNames[0]].data) console.log(number);
