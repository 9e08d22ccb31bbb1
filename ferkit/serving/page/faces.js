// Find faces and cut them out as ferkit.photos does in Python. A picture is {data, width, height, channels}: bytes, row
// by row.

const STRIDES = [8, 16, 32]; // YuNet looks for faces at places that are this many pixels apart
const MIN_SIDE = 64; // as in ferkit.photos
const MIN_SCORE = 0.7;
const MAX_OVERLAP = 0.3; // intersection over union of two boxes, above which only the better one is kept
const MARGIN = -0.05; // of the height of a box, on each side of its crop

// Return the input of YuNet: the blue, green and red values of the picture, shrunk to `maxSide` and padded with 0 to
// multiples of the largest stride.
export function prepare(picture, maxSide) {
  const sides = [picture.width, picture.height];
  const shrink = Math.min(1, maxSide / Math.max(...sides));
  const [columns, rows] = sides.map((side) => Math.max(1, Math.round(shrink * side)));
  const { data, channels } = resize(picture, [0, 0, ...sides], columns, rows);
  const [width, height] = [columns, rows].map((side) => 32 * Math.ceil(Math.max(side, MIN_SIDE) / 32));
  const values = new Float32Array(3 * width * height);
  for (let color = 0; color < 3; color++) {
    for (let y = 0; y < rows; y++) {
      let from = y * columns * channels + color;
      let to = ((2 - color) * height + y) * width;
      for (let x = 0; x < columns; x++, from += channels) values[to++] = data[from];
    }
  }
  return { values, width, height, scale: [columns / picture.width, rows / picture.height] };
}

// Return the faces in YuNet's outputs, in pixels of the picture and sorted by decreasing score. `outputs` holds an
// array for each of cls, obj, bbox and kps at each stride, such as outputs.cls_8; `input` is the result of prepare().
export function decode(outputs, input) {
  const found = [];
  for (const stride of STRIDES) {
    const [cls, obj, bbox, kps] = ["cls", "obj", "bbox", "kps"].map((name) => outputs[`${name}_${stride}`]);
    const columns = input.width / stride;
    for (let place = 0; place < cls.length; place++) {
      const score = Math.sqrt(cls[place] * obj[place]);
      if (score < MIN_SCORE) continue;
      const origin = [place % columns, Math.floor(place / columns)];
      const toPicture = (value, axis) => (stride * value) / input.scale[axis];
      const [width, height] = [0, 1].map((axis) => toPicture(Math.exp(bbox[4 * place + 2 + axis]), axis));
      const [x, y] = [0, 1].map((axis) => toPicture(origin[axis] + bbox[4 * place + axis], axis));
      const landmarks = [0, 1, 2, 3, 4].map((point) =>
        [0, 1].map((axis) => toPicture(origin[axis] + kps[10 * place + 2 * point + axis], axis)),
      );
      found.push({ box: { left: x - width / 2, top: y - height / 2, width, height }, landmarks, score });
    }
  }
  found.sort((one, other) => other.score - one.score);
  const kept = [];
  for (const face of found) if (kept.every((better) => overlap(face.box, better.box) <= MAX_OVERLAP)) kept.push(face);
  return kept;
}

// Return the intersection over union of two boxes.
function overlap(one, other) {
  const width = Math.min(one.left + one.width, other.left + other.width) - Math.max(one.left, other.left);
  const height = Math.min(one.top + one.height, other.top + other.height) - Math.max(one.top, other.top);
  const shared = Math.max(0, width) * Math.max(0, height);
  return shared / (one.width * one.height + other.width * other.height - shared);
}

// Return square crops of faces as one array (n, rows, columns, channels), gray if channels is 1.
export function cut(picture, faces, [rows, columns, channels]) {
  const size = rows * columns * channels;
  const crops = new Uint8Array(faces.length * size);
  const source = channels === 1 ? toGray(picture) : picture;
  faces.forEach(({ box }, number) => {
    const side = box.height * (1 + 2 * MARGIN);
    const corner = [box.left + (box.width - side) / 2, box.top + (box.height - side) / 2];
    const crop = resize(source, [...corner, side, side], columns, rows);
    for (let index = 0; index < size; index++) {
      crops[number * size + index] = crop.data[Math.floor(index / channels) * crop.channels + (index % channels)];
    }
  });
  return crops;
}

// Return a picture in gray, with Pillow's weights.
function toGray({ data, width, height, channels }) {
  const gray = new Uint8Array(width * height);
  for (let index = 0, from = 0; index < gray.length; index++, from += channels) {
    gray[index] = (19595 * data[from] + 38470 * data[from + 1] + 7471 * data[from + 2] + 32768) >> 16;
  }
  return { data: gray, width, height, channels: 1 };
}

// Resize the part [left, top, width, height] of a picture as Pillow does: bilinear, averaged if it shrinks, and rounded
// after the rows and after the columns. Outside of the picture, the pixels of its edge are repeated.
export function resize(picture, [left, top, width, height], columns, rows) {
  if (left === 0 && top === 0 && columns === picture.width && rows === picture.height) return picture;
  const { data, channels } = picture;
  const across = weigh(left, width, columns, picture.width);
  const down = weigh(top, height, rows, picture.height);
  const first = down[0].places[0];
  const line = columns * channels;
  const narrow = new Uint8ClampedArray((down.at(-1).places.at(-1) - first + 1) * line); // rounds
  for (let to = 0, y = first; to < narrow.length; y++) {
    for (const { places, weights } of across) {
      for (let channel = 0; channel < channels; channel++) {
        let sum = 0;
        for (let tap = 0; tap < places.length; tap++) {
          sum += weights[tap] * data[(y * picture.width + places[tap]) * channels + channel];
        }
        narrow[to++] = sum;
      }
    }
  }
  const result = new Uint8ClampedArray(rows * line);
  for (let y = 0; y < rows; y++) {
    const { places, weights } = down[y];
    for (let index = 0; index < line; index++) {
      let sum = 0;
      for (let tap = 0; tap < places.length; tap++) sum += weights[tap] * narrow[(places[tap] - first) * line + index];
      result[y * line + index] = sum;
    }
  }
  return { data: result, width: columns, height: rows, channels };
}

// Return the old pixels along one side, and their weights, from which each of n new pixels is mixed.
function weigh(start, length, n, limit) {
  const reach = Math.max(1, length / n);
  return Array.from({ length: n }, (_, index) => {
    const center = start + ((index + 0.5) * length) / n;
    const first = Math.floor(center - reach + 0.5);
    const places = Array.from({ length: Math.floor(center + reach + 0.5) - first }, (_, tap) => first + tap);
    const weights = places.map((place) => Math.max(0, 1 - Math.abs(place + 0.5 - center) / reach));
    const sum = weights.reduce((total, weight) => total + weight);
    return {
      places: places.map((place) => Math.min(Math.max(place, 0), limit - 1)),
      weights: weights.map((weight) => weight / sum),
    };
  });
}
