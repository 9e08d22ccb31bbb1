// The page that `ferkit export-web` writes: a worker analyzes the pictures, so that they do not leave the browser.

import { start } from "./app.js";

const PHOTO_SIDE = 640; // pixels of the longer side of the picture in which faces are searched
const CAMERA_SIDE = 320; // is four times as fast; faces in front of a camera are large

let worker = null; // started with the first picture, because it loads many megabytes

function startWorker() {
  // The policy of the page also applies to a worker from a blob, but not to one from a file.
  const code = `import ${JSON.stringify(new URL("worker.js", location.href))};`;
  return new Worker(URL.createObjectURL(new Blob([code], { type: "text/javascript" })), { type: "module" });
}

function analyze(picture, isLive, say) {
  const { data, width, height } = picture.getContext("2d").getImageData(0, 0, picture.width, picture.height);
  worker ??= startWorker();
  return new Promise((resolve, reject) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = ({ data: { progress, analysis, error } }) => {
      if (progress) return say(progress);
      port1.close();
      if (analysis) resolve(analysis);
      else reject(new Error(error));
    };
    worker.onerror = () => {
      worker = null;
      reject(new Error("The networks can't be loaded: check your connection, or update your browser."));
    };
    const maxSide = isLive ? CAMERA_SIDE : PHOTO_SIDE;
    const message = { picture: { data, width, height, channels: 4 }, maxSide, port: port2 };
    worker.postMessage(message, [data.buffer, port2]);
  });
}

start(analyze, "model.json");
