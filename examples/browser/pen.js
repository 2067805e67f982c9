// Strokes on the canvas, by mouse, finger, pen or keys.

const PEN_WIDTH = 24; // of the canvas's 280 pixels: a stroke as wide as MNIST's, in a digit that fills the dashed box
const KEY_STEP = 8;
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/** A line on the canvas; of one point, a dot. */
function line(context, from, to) {
  context.lineWidth = PEN_WIDTH;
  context.lineCap = "round";
  context.beginPath();
  context.moveTo(from.x, from.y);
  context.lineTo(to.x, to.y);
  context.stroke();
}

/** Let pointers draw; `drawn(finished)` is called after each piece of a stroke. Further fingers are ignored. */
function drawByPointer(context, drawn) {
  const canvas = context.canvas;
  let pointer = null;
  let last = null;

  const placeOn = (event) => {
    const box = canvas.getBoundingClientRect();
    return {
      x: ((event.clientX - box.left) * canvas.width) / box.width,
      y: ((event.clientY - box.top) * canvas.height) / box.height,
    };
  };
  const extend = (event) => {
    const place = placeOn(event);
    line(context, last, place);
    last = place;
  };

  canvas.addEventListener("pointerdown", (event) => {
    if (pointer !== null || event.button !== 0) return;
    pointer = event.pointerId;
    canvas.setPointerCapture(pointer); // a stroke that leaves the square goes on when it comes back
    last = placeOn(event);
    extend(event);
    drawn(false);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (event.pointerId !== pointer) return;
    const moves = event.getCoalescedEvents?.() ?? [];
    for (const move of moves.length > 0 ? moves : [event]) extend(move);
    drawn(false);
  });
  for (const end of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(end, (event) => {
      if (event.pointerId !== pointer) return;
      pointer = null;
      drawn(true);
    });
  }
}

/** Let keys draw: arrows move the pen, the space bar puts it down and lifts it. `mark` shows where it is. */
function drawByKeys(context, mark, drawn) {
  const canvas = context.canvas;
  const pen = { x: canvas.width / 2, y: canvas.height / 4, down: false };

  const show = () => {
    mark.style.left = `${(100 * pen.x) / canvas.width}%`;
    mark.style.top = `${(100 * pen.y) / canvas.height}%`;
    mark.classList.toggle("down", pen.down);
  };
  const move = ([across, down]) => {
    const from = { ...pen };
    pen.x = Math.min(Math.max(pen.x + across * KEY_STEP, 0), canvas.width);
    pen.y = Math.min(Math.max(pen.y + down * KEY_STEP, 0), canvas.height);
    if (!pen.down) return;
    line(context, from, pen);
    drawn(false);
  };
  const lower = () => {
    pen.down = !pen.down;
    if (pen.down) line(context, pen, pen);
    drawn(!pen.down);
  };

  canvas.addEventListener("keydown", (event) => {
    if (event.key in ARROWS) move(ARROWS[event.key]);
    else if (event.key === " " && !event.repeat) lower();
    else if (event.key !== " ") return;
    event.preventDefault(); // the page must not scroll
    show();
  });
  canvas.addEventListener("blur", () => {
    if (pen.down) lower();
    show();
  });
  show();
}
