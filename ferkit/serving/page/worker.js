// Both networks, in a worker so that the page stays responsive. A message is {picture, maxSide, port}. The port
// receives {progress}, a text, any number of times, and then {analysis} or {error}.

import * as ort from "./onnxruntime.js";
import { cut, decode, prepare } from "./faces.js";

const FILES = ["onnxruntime.wasm", "yunet.onnx", "model.onnx"];

let loading = null; // promise of the result of load()

async function download(name, receive = () => {}) {
  const url = new URL(name, import.meta.url);
  const response = await fetch(url, { cache: "no-cache" }).catch(() => null); // asks whether the cached file is current
  if (!response?.ok) throw new Error(`${name} can't be loaded${response ? ` (${response.status})` : ""}: try again.`);
  const chunks = [];
  const reader = response.body.getReader();
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    chunks.push(part.value);
    receive(part.value.length);
  }
  return new Uint8Array(await new Blob(chunks).arrayBuffer());
}

async function load(say) {
  const model = JSON.parse(new TextDecoder().decode(await download("model.json")));
  let loaded = 0;
  const receive = (n) => {
    loaded += n;
    const percent = 10 * Math.floor((10 * loaded) / model.bytes);
    say(`Loading the networks (${Math.round(model.bytes / 1e6)} MB): ${percent} %`);
  };
  const [wasm, yunet, network] = await Promise.all(FILES.map((name) => download(name, receive)));
  ort.env.wasm.wasmBinary = wasm;
  ort.env.wasm.numThreads = 1; // more need headers that many hosts of static pages can't send
  const detector = await ort.InferenceSession.create(yunet);
  const classifier = await ort.InferenceSession.create(network);
  return { model, detector, classifier };
}

async function analyze(picture, maxSide, { model, detector, classifier }) {
  const input = prepare(picture, maxSide);
  const tensor = new ort.Tensor("float32", input.values, [1, 3, input.height, input.width]);
  const outputs = await detector.run({ input: tensor });
  const faces = decode(Object.fromEntries(Object.entries(outputs).map(([name, { data }]) => [name, data])), input);
  if (faces.length) {
    const crops = cut(picture, faces, model.image_shape);
    const images = new ort.Tensor("uint8", crops, [faces.length, ...model.image_shape]);
    const { data } = (await classifier.run({ images })).probabilities;
    faces.forEach((face, index) => {
      const values = data.slice(index * model.classes.length, (index + 1) * model.classes.length);
      const best = Math.max(...values);
      face.emotion = model.classes[values.indexOf(best)];
      face.probabilities = Object.fromEntries(model.classes.map((name, place) => [name, values[place]]));
      face.unsure = best < model.threshold;
    });
  }
  return { width: picture.width, height: picture.height, faces };
}

self.addEventListener("message", async ({ data: { picture, maxSide, port } }) => {
  let said = "";
  const say = (progress) => progress !== said && port.postMessage({ progress: (said = progress) });
  loading ??= load(say);
  try {
    const networks = await loading.catch((error) => {
      loading = null; // so that the next picture tries again
      throw error;
    });
    port.postMessage({ analysis: await analyze(picture, maxSide, networks) });
  } catch (error) {
    port.postMessage({ error: error.message });
  }
});
