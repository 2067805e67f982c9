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
  const { instance } = await WebAssembly.instantiate(bytes).catch((error) => {
    throw new Error(
      `this browser's WebAssembly does not take it (${error.message}). It needs the vector instructions that Chrome ` +
      "and Edge have from 91 on, Firefox from 89 on and Safari from 16.4 on.",
    );
  });
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

/** Milliseconds of so many calls, from a tick of the clock on. */
function millisecondsOf(call, calls) {
  const before = performance.now();
  let start = before;
  while (start === before) start = performance.now();
  for (let i = 0; i < calls; i++) call();
  return performance.now() - start;
}

/**
 * Microseconds of one call. Clocks of browsers tick once in a tenth of a millisecond or seldom, so that a round has as
 * many calls as take five; of three rounds the fastest counts, for other programs only make them longer.
 */
function microsecondsOf(call) {
  let calls = 1;
  let milliseconds = millisecondsOf(call, calls);
  for (; milliseconds < 5; milliseconds = millisecondsOf(call, calls)) calls *= 2;
  const rounds = [milliseconds, millisecondsOf(call, calls), millisecondsOf(call, calls)];
  return (1000 * Math.min(...rounds)) / calls;
}
