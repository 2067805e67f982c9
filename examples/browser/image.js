// From a drawing to what the network was trained on. MNIST's digits are scaled until the longer side of the box around
// them has 20 pixels, and lie in 28 x 28 so that their centre of mass is in the middle.

const SIDE = 28;
const BOX = 20;
const FAINTEST = 8; // of 255: less is no ink, but what a browser adds so that nobody can tell it from others

/**
 * For each corner of a canvas's pixels, all ink to the left of it and above: the ink of a rectangle is then made of four
 * such sums. A pixel's ink is its opacity, 0 to 255, for its colour depends on light and dark.
 */
function inkSums(context) {
  const { width, height } = context.canvas;
  const opacities = context.getImageData(0, 0, width, height).data;
  const stride = width + 1;
  const sums = new Int32Array(stride * (height + 1));
  for (let y = 0, pixel = 3, at = stride + 1; y < height; y++, at++) {
    let row = 0;
    for (let x = 0; x < width; x++, pixel += 4, at++) {
      const ink = opacities[pixel];
      if (ink >= FAINTEST) row += ink;
      sums[at] = sums[at - stride] + row;
    }
  }
  return { sums, stride, width, height };
}

/** The smallest box around all ink, or null if there is none. */
function boxAround({ sums, stride, width, height }) {
  const all = sums[sums.length - 1];
  if (all === 0) return null;
  const above = (y) => sums[y * stride + width];
  const leftOf = (x) => sums[height * stride + x];
  let left = 0, right = width, top = 0, bottom = height;
  while (leftOf(left + 1) === 0) left++;
  while (leftOf(right - 1) === all) right--;
  while (above(top + 1) === 0) top++;
  while (above(bottom - 1) === all) bottom--;
  return { left, right, top, bottom };
}

/** The ink to the left of x and above y, which may lie within a pixel: that counts by the part which they cover. */
function inkUpTo({ sums, stride, width, height }, x, y) {
  const column = Math.min(Math.floor(x), width - 1);
  const row = Math.min(Math.floor(y), height - 1);
  const across = Math.min(x - column, 1);
  const down = Math.min(y - row, 1);
  const at = row * stride + column;
  const above = sums[at] + across * (sums[at + 1] - sums[at]);
  const below = sums[at + stride] + across * (sums[at + stride + 1] - sums[at + stride]);
  return above + down * (below - above);
}

/** What lies in the box, its longer side scaled to 20 pixels: each has the mean ink of what it covers. */
function scaledTo20(drawing, box) {
  const size = Math.max(box.right - box.left, box.bottom - box.top) / BOX; // of a new pixel, in those of the canvas
  const width = Math.ceil((box.right - box.left) / size);
  const height = Math.ceil((box.bottom - box.top) / size);
  const pixels = new Float32Array(width * height);
  for (let y = 0; y < height; y++) {
    const top = box.top + y * size, bottom = top + size;
    let before = 0; // the ink of this row to the left of the pixel, as far as the canvas's edge
    for (let x = 0; x <= width; x++) {
      const right = box.left + x * size;
      const upTo = inkUpTo(drawing, right, bottom) - inkUpTo(drawing, right, top);
      if (x > 0) pixels[y * width + x - 1] = (upTo - before) / (size * size);
      before = upTo;
    }
  }
  return { pixels, width, height };
}

/** Where a digit begins in the 28 x 28, so that its centre of mass comes to MNIST's place, and no part outside. */
function placeOf({ pixels, width, height }) {
  let mass = 0, across = 0, down = 0;
  for (let y = 0, i = 0; y < height; y++) {
    for (let x = 0; x < width; x++, i++) {
      mass += pixels[i];
      across += pixels[i] * (x + 0.5);
      down += pixels[i] * (y + 0.5);
    }
  }
  // In MNIST it lies in [14, 15), the first pixel being [0, 1).
  const start = (centre, length) => Math.min(Math.max(Math.ceil(SIDE / 2 - centre), 0), SIDE - length);
  return { left: start(across / mass, width), top: start(down / mass, height) };
}

/** The drawing on a canvas as an image of MNIST's form, 28 x 28 bytes, or null if nothing is drawn. */
function imageOf(context) {
  const drawing = inkSums(context);
  const box = boxAround(drawing);
  if (box === null) return null;
  const digit = scaledTo20(drawing, box);
  const { left, top } = placeOf(digit);
  const image = new Uint8Array(SIDE * SIDE);
  for (let y = 0; y < digit.height; y++) {
    for (let x = 0; x < digit.width; x++) {
      image[(top + y) * SIDE + left + x] = Math.round(digit.pixels[y * digit.width + x]);
    }
  }
  return image;
}
