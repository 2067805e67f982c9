// The network in WebAssembly, and how long it takes.

/** The network of a module in base64: a place for the image, one for the scores, and the function that runs it. */
async function loadNetwork(base64) {
  if (typeof WebAssembly !== "object") {
    throw new Error(
      "this browser has no WebAssembly, or it is switched off. Open the page in a current Firefox, Chrome, Edge or " +
      "Safari; on an iPhone, Lockdown Mode switches it off.",
    );
  }
  const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  const { instance } = await WebAssembly.instantiate(bytes);
  const { memory, image, scores, run } = instance.exports;
  return {
    image: new Uint8Array(memory.buffer, image(), SIDE * SIDE),
    scores: new Float32Array(memory.buffer, scores(), 10),
    run,
  };
}

/** The scores as shares of one (softmax). */
function sharesOf(scores) {
  const highest = Math.max(...scores);
  const powers = Array.from(scores, (score) => Math.exp(score - highest));
  const sum = powers.reduce((all, power) => all + power, 0);
  return powers.map((power) => power / sum);
}

/** Microseconds of one call. Clocks of browsers are coarse: calls are repeated for ten milliseconds, from a tick on. */
function microsecondsOf(call) {
  for (let calls = 1; ; calls *= 2) {
    const before = performance.now();
    let start = before;
    while (start === before) start = performance.now();
    for (let i = 0; i < calls; i++) call();
    const milliseconds = performance.now() - start;
    if (milliseconds >= 10) return (1000 * milliseconds) / calls;
  }
}
