// The page: a photo or the pictures of the camera, boxes drawn over them, and a list of the probabilities. server.js
// and browser.js start it with a function that analyzes a picture.

const PHOTO_SIDE = 1600; // pixels of the longer side that is analyzed; detection shrinks photos further
const FRAME_SIDE = 640;
const RETRY = 2000; // milliseconds until the camera tries again after an error
const ANNOUNCE = 3000; // milliseconds between two announcements of a screen reader
// Okabe and Ito's palette, in which colour-blind people can tell any two colours apart
const COLORS = ["#d55e00", "#009e73", "#cc79a7", "#f0e442", "#999999", "#56b4e9", "#e69f00", "#0072b2"];

const at = (id) => document.getElementById(id);
const [stage, video, canvas, camera, file] = ["stage", "video", "canvas", "camera", "file"].map(at);
const percent = (value) => `${Math.round(100 * value)}\u00a0%`;
const calm = matchMedia("(prefers-reduced-motion: reduce)");
const wait = (time) => new Promise((resolve) => setTimeout(resolve, time));

// Takes a canvas, whether it shows the camera, and a function for texts about the progress; returns what POST analyze
// answers.
let analyze = null;
let classes = [];
let shown = null; // {analysis, photo}: what the canvas shows; photo is null over the video
let turn = 0; // of the newest photo or camera; answers to older ones are dropped
let announced = 0;

// One element with a class and a text.
function make(tag, name = "", text = "") {
  const element = document.createElement(tag);
  element.className = name;
  element.textContent = text;
  return element;
}

function color(emotion) {
  return COLORS[Math.max(classes.indexOf(emotion), 0) % COLORS.length];
}

// Black or white, whichever is easier to read on a colour.
function ink(hex) {
  const [red, green, blue] = [1, 3, 5].map((start) => parseInt(hex.slice(start, start + 2), 16));
  return 0.299 * red + 0.587 * green + 0.114 * blue > 110 ? "#000" : "#fff";
}

function showError(text) {
  at("error").textContent = text;
}

function say(text) {
  at("summary").textContent = text;
}

// Draw an image or a frame in a canvas of its own, with its longer side shrunk.
function shrink(image, width, height, side) {
  const scale = Math.min(1, side / Math.max(width, height));
  const copy = document.createElement("canvas");
  copy.width = Math.max(1, Math.round(scale * width));
  copy.height = Math.max(1, Math.round(scale * height));
  copy.getContext("2d", { willReadFrequently: true }).drawImage(image, 0, 0, copy.width, copy.height);
  return copy;
}

function draw() {
  if (!shown) return;
  const { analysis, photo } = shown;
  const ratio = window.devicePixelRatio || 1;
  canvas.width = photo ? photo.width : Math.round(canvas.clientWidth * ratio);
  canvas.height = photo ? photo.height : Math.round(canvas.clientHeight * ratio);
  const context = canvas.getContext("2d");
  if (photo) context.drawImage(photo, 0, 0);
  if (!analysis) return;
  // The picture is centered in the canvas, and text has the same size on a phone as on a large screen.
  const scale = Math.min(canvas.width / analysis.width, canvas.height / analysis.height);
  const [leftEdge, topEdge] = [(canvas.width - scale * analysis.width) / 2, (canvas.height - scale * analysis.height) / 2];
  const pixel = canvas.width / Math.max(1, canvas.clientWidth);
  const size = 14 * pixel;
  context.font = `600 ${size}px system-ui, sans-serif`;
  context.textBaseline = "middle";
  analysis.faces.forEach((face, index) => {
    const [width, height] = [scale * face.box.width, scale * face.box.height];
    const x = leftEdge + scale * face.box.left;
    const y = topEdge + scale * face.box.top;
    // on a dark line, so that the box can be seen on any background
    context.setLineDash(face.unsure ? [7 * pixel, 5 * pixel] : []);
    for (const [style, line] of [["#000", 5], [color(face.emotion), 3]]) {
      context.strokeStyle = style;
      context.lineWidth = line * pixel;
      context.strokeRect(x, y, width, height);
    }
    const long = `${index + 1} ${face.emotion}${face.unsure ? "?" : ""}`;
    const text = context.measureText(long).width < Math.max(width, 90 * pixel) ? long : `${index + 1}`;
    const room = context.measureText(text).width + 0.8 * size;
    const left = Math.min(Math.max(x - 2 * pixel, 0), Math.max(0, canvas.width - room));
    const top = y > 1.6 * size ? y - 1.5 * size : y;
    context.fillStyle = color(face.emotion);
    context.fillRect(left, top, room, 1.5 * size);
    context.fillStyle = ink(color(face.emotion));
    context.fillText(text, left + 0.4 * size, top + 0.78 * size);
  });
}

function list(faces) {
  at("faces").replaceChildren(
    ...faces.map((face, index) => {
      const number = make("span", "number", index + 1);
      number.style.background = color(face.emotion);
      number.style.color = ink(color(face.emotion));
      const heading = make("h3");
      heading.append(number, make("span", "", face.emotion), make("small", "", face.unsure ? "unsure" : ""));
      const item = make("li");
      item.append(heading);
      for (const [emotion, probability] of Object.entries(face.probabilities)) {
        const bar = make("div", emotion === face.emotion ? "bar best" : "bar");
        const track = make("span", "track");
        const filled = make("i");
        filled.style.width = `${100 * probability}%`;
        filled.style.background = color(emotion);
        track.append(filled);
        bar.append(make("span", "", emotion), track, make("span", "", percent(probability)));
        item.append(bar);
      }
      return item;
    }),
  );
}

// The camera's probabilities change too fast to be read out.
function summarize(faces) {
  if (!faces.length) return "No face was found.";
  const parts = faces.map((face, index) => {
    const probability = shown.photo ? `\u00a0${percent(face.probabilities[face.emotion])}` : "";
    return `${index + 1}:\u00a0${face.emotion}${probability}${face.unsure ? "\u00a0(unsure)" : ""}`;
  });
  return `${faces.length === 1 ? "One face" : `${faces.length} faces`}: ${parts.join(", ")}.`;
}

function announce(faces) {
  const text = summarize(faces);
  if (at("summary").textContent !== text && (shown.photo || Date.now() - announced > ANNOUNCE)) {
    say(text);
    announced = Date.now();
  }
}

function show(photo, analysis) {
  if (analysis) {
    const mirrored = !photo && video.classList.contains("mirrored");
    for (const { box } of mirrored ? analysis.faces : []) box.left = analysis.width - box.left - box.width;
    analysis.faces.sort((one, other) => one.box.left - other.box.left); // numbered from left to right
  }
  shown = { photo, analysis };
  stage.className = "";
  at("hint").hidden = true;
  canvas.hidden = false;
  draw();
  if (!analysis) return;
  list(analysis.faces);
  announce(analysis.faces);
}

async function openPhoto(chosen) {
  stopCamera();
  const mine = ++turn;
  showError("");
  let photo;
  try {
    const image = await createImageBitmap(chosen);
    photo = shrink(image, image.width, image.height, PHOTO_SIDE);
    image.close();
  } catch {
    showError(`${chosen.name} can't be shown as an image: choose a JPEG, PNG or WebP file.`);
    return;
  }
  if (mine !== turn) return;
  at("faces").replaceChildren();
  say("Looking for faces…");
  show(photo, null);
  try {
    const analysis = await analyze(photo, false, (text) => mine === turn && say(text));
    if (mine === turn) show(photo, analysis);
  } catch (error) {
    if (mine !== turn) return;
    say("No result.");
    showError(error.message);
  }
}

async function startCamera() {
  const mine = ++turn;
  showError("");
  if (!navigator.mediaDevices) {
    showError("The camera only works over HTTPS or on localhost.");
    return;
  }
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "user", width: { ideal: 1280 } } });
  } catch (error) {
    const reasons = {
      NotAllowedError: "The camera is blocked: allow it in the browser's settings of this page.",
      NotFoundError: "No camera was found.",
      NotReadableError: "The camera is in use by another program.",
    };
    showError(reasons[error.name] || `The camera can't be started (${error.message}).`);
    return;
  }
  if (mine !== turn) {
    stream.getTracks().forEach((track) => track.stop());
    return;
  }
  const [track] = stream.getVideoTracks();
  track.addEventListener("ended", () => mine === turn && (stopCamera(), showError("The camera was disconnected.")));
  video.srcObject = stream;
  video.classList.toggle("mirrored", track.getSettings().facingMode !== "environment");
  video.hidden = false;
  camera.textContent = "Stop the camera";
  camera.setAttribute("aria-pressed", "true");
  at("faces").replaceChildren();
  show(null, null);
  await video.play().catch(() => {}); // fails if the camera is stopped before it shows anything
  if (mine === turn) watch(mine);
}

// Send a frame whenever the last one has been answered, so that frames never queue.
async function watch(mine) {
  const times = [];
  while (mine === turn) {
    await new Promise(requestAnimationFrame); // pauses in a hidden tab
    try {
      const frame = shrink(video, video.videoWidth, video.videoHeight, FRAME_SIDE);
      const analysis = await analyze(frame, true, (text) => mine === turn && say(text));
      if (mine !== turn) return;
      showError("");
      show(null, analysis);
      times.push(performance.now());
      if (times.length > 10) times.shift();
      const rate = (1000 * (times.length - 1)) / (times.at(-1) - times[0]);
      at("rate").textContent = times.length > 2 ? `${rate.toFixed(rate < 10 ? 1 : 0)} frames per second` : "";
      if (calm.matches) await wait(1000);
    } catch (error) {
      if (mine !== turn) return;
      showError(error.message);
      await wait(RETRY);
    }
  }
}

function stopCamera() {
  if (!video.srcObject) return;
  turn++;
  video.srcObject.getTracks().forEach((track) => track.stop());
  video.srcObject = null;
  video.hidden = canvas.hidden = true;
  at("hint").hidden = false;
  stage.className = "empty";
  shown = null;
  camera.textContent = "Start the camera";
  camera.setAttribute("aria-pressed", "false");
  at("rate").textContent = "";
  at("faces").replaceChildren();
  say("The camera is off.");
}

// Start the page. `description` is the address of a JSON file with the name, the classes and the card of the model.
export function start(analyzePicture, description, problem = "The model's description can't be loaded.") {
  analyze = analyzePicture;
  at("hint").textContent = "Choose a photo, drop one here, or start the camera.";
  camera.addEventListener("click", () => (video.srcObject ? stopCamera() : startCamera()));
  file.addEventListener("change", () => {
    if (file.files.length) openPhoto(file.files[0]);
    file.value = ""; // so that the same file can be chosen again
  });
  for (const kind of ["dragover", "dragleave", "drop"]) {
    document.addEventListener(kind, (event) => {
      event.preventDefault();
      stage.classList.toggle("over", kind === "dragover");
      if (kind === "drop" && event.dataTransfer.files.length) openPhoto(event.dataTransfer.files[0]);
    });
  }
  new ResizeObserver(draw).observe(stage);
  fetch(description)
    .then((response) => response.json())
    .then((model) => {
      classes = model.classes;
      at("model").textContent = model.name;
      at("card").textContent = model.card || `Classes: ${model.classes.join(", ")}`;
    })
    .catch(() => showError(problem));
}
