// What stands on the page.

const element = (id) => document.getElementById(id);
const drawing = element("drawing").getContext("2d", { willReadFrequently: true });
const seen = element("seen").getContext("2d");
const EMPTY = "The square is empty. Draw a digit from 0 to 9 in it.";
const SURE = 0.8; // the share below which the second digit is named, too

let network = null;
let frame = null; // the animation frame that will read the drawing

/** What the network makes of the drawing: the ten shares, or null if nothing is drawn. */
function readDrawing() {
  const image = imageOf(drawing);
  if (image === null) return null;
  network.image.set(image);
  network.run();
  return sharesOf(network.scores);
}

/** The digits, the likeliest first. */
function ranked(shares) {
  return [...shares.keys()].sort((a, b) => shares[b] - shares[a]);
}

/** No score is said to be all. */
function percent(share) {
  return share >= 0.9995 ? ">\u00a099.9\u00a0%" : `${(100 * share).toFixed(1)}\u00a0%`;
}

/** The answer in words. */
function sentenceOf(shares) {
  const [first, second] = ranked(shares);
  if (shares[first] >= SURE) return `This is a ${first} (${percent(shares[first])}).`;
  return `Perhaps a ${first} (${percent(shares[first])}), perhaps a ${second} (${percent(shares[second])}).`;
}

/** Digit, bars and the small image; without shares, as for an empty square. */
function show(shares) {
  const best = shares && ranked(shares)[0];
  element("digit").textContent = shares ? best : "?";
  element("digit").classList.toggle("none", !shares);
  for (const [digit, row] of [...element("scores").rows].entries()) {
    row.classList.toggle("best", digit === best);
    row.querySelector(".bar").style.width = shares ? `${100 * shares[digit]}%` : "0";
    row.querySelector(".share").textContent = shares ? percent(shares[digit]) : "–";
  }
  const pixels = seen.createImageData(SIDE, SIDE);
  if (shares) network.image.forEach((ink, i) => { pixels.data[4 * i + 3] = ink; });
  seen.putImageData(pixels, 0, 0);
}

/** How long the network took, and how long all of it, in words. */
function timesInWords() {
  const inside = microsecondsOf(network.run);
  const all = microsecondsOf(readDrawing);
  const figure = (number) => `${Number(number.toPrecision(2)).toLocaleString("en")}\u00a0µs`;
  return `The answer took ${figure(all)}: ${figure(inside)} in the network, the rest to make your drawing an image of ` +
    "28 × 28 pixels.";
}

/** Read the drawing and show the answer; say it in words, and how long it took, when a stroke is finished. */
function update(finished) {
  const shares = readDrawing();
  show(shares);
  const inWords = shares ? sentenceOf(shares) : EMPTY;
  element("answer").textContent = finished ? inWords : "";
  element("times").textContent = finished && shares ? timesInWords() : "";
}

/** A piece of a stroke was drawn: bars follow once a frame. */
function drawn(finished) {
  if (network === null) return;
  cancelAnimationFrame(frame);
  frame = finished ? null : requestAnimationFrame(() => update(false));
  if (finished) update(true);
}

function clearDrawing() {
  drawing.clearRect(0, 0, drawing.canvas.width, drawing.canvas.height);
  drawn(true);
}

/** Say what is the matter, in place of what cannot work. */
function fail(reason) {
  element("failure").textContent = `The network cannot run: ${reason}`;
  element("failure").hidden = false;
  element("reader").hidden = true;
}

async function start() {
  try {
    if (imageOf(drawing) !== null) {
      throw new Error("this browser does not let the page read its own drawing; allow it to use canvas data.");
    }
    network = await loadNetwork(element("module").textContent);
  } catch (error) {
    fail(error.message);
    return;
  }
  drawByPointer(drawing, drawn);
  drawByKeys(drawing, element("pen"), drawn);
  element("clear").addEventListener("click", clearDrawing);
  clearDrawing();
}

start();
