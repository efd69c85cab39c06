// A line chart of the last minutes, in SVG, drawn at the size it is shown at.
//
// The figures in its caption are those of now, or of the moment that the pointer or the arrow keys
// are at.

const WINDOW_MIN_MS = 60_000;
const WINDOW_MAX_MS = 300_000;
/** A pause longer than this is a hole in the line: nobody knows what was there. */
const HOLE_MS = 5_000;
const HEIGHT = 148;
const FOOT = 20;
const HEAD = 14;

const number = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const large = new Intl.NumberFormat("en", { maximumFractionDigits: 1, notation: "compact" });

/** A number for people. */
export const shown = (value) => (value < 100_000 ? number : large).format(value);

/** The least round number that the line fits under, with a round half. */
export function roundAbove(value) {
  const power = 10 ** Math.floor(Math.log10(Math.max(value, 1)));
  const step = [1, 2, 4, 6, 8, 10].find((step) => step * power >= value);
  return Math.max(2, step * power);
}

function svg(name, attributes, text) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== undefined) element.textContent = text;
  return element;
}

export class Chart {
  #samples = [];
  #read = null;
  #plot;
  #values;
  #names;
  #when;
  #canvas = svg("svg", { "aria-hidden": "true" });
  #isDue = false;

  /** `figure` has a `.plot`, a `[data-when]` and one `[data-value]` for each line. */
  constructor(figure) {
    this.#plot = figure.querySelector(".plot");
    this.#when = figure.querySelector("[data-when]");
    this.#values = [...figure.querySelectorAll("[data-value]")];
    this.#names = this.#values.map((value) => value.previousElementSibling.textContent);
    const title = figure.querySelector("h2").firstChild.textContent.trim();
    // A slider over time is what assistive technology knows that can be read value by value.
    for (const [key, value] of Object.entries({
      role: "slider", tabindex: "0", "aria-label": `${title}, arrow keys read earlier values`,
      "aria-valuemin": "0", "aria-valuemax": "0", "aria-valuenow": "0", "aria-valuetext": "now",
    })) this.#plot.setAttribute(key, value);
    this.#plot.append(this.#canvas);
    this.#plot.addEventListener("pointermove", ({ offsetX }) => this.#point(offsetX));
    this.#plot.addEventListener("pointerleave", () => this.#look(null));
    this.#plot.addEventListener("blur", () => this.#look(null));
    this.#plot.addEventListener("keydown", (event) => this.#key(event));
    new ResizeObserver(() => this.#draw()).observe(this.#plot);
  }

  /** Adds the values of this moment, one for each line. */
  add(values, at = performance.now()) {
    this.#samples.push({ at, values });
    while (this.#samples[0].at < at - WINDOW_MAX_MS) this.#samples.shift();
    this.#draw();
  }

  #key(event) {
    const last = this.#samples.length - 1;
    const at = this.#read ? this.#samples.indexOf(this.#read) : last;
    const to = { ArrowLeft: at - 1, ArrowDown: at - 1, ArrowRight: at + 1, ArrowUp: at + 1,
      PageDown: at - 10, PageUp: at + 10, Home: 0, End: last, Escape: last }[event.key];
    if (to === undefined || last < 0) return;
    event.preventDefault();
    this.#look(to >= last ? null : this.#samples[Math.max(0, to)]);
  }

  #point(x) {
    const { from, width, span } = this.#frame();
    const at = from + (x / width) * span;
    const nearest = (best, sample) => Math.abs(sample.at - at) < Math.abs(best.at - at) ? sample : best;
    if (this.#samples.length > 0) this.#look(this.#samples.reduce(nearest));
  }

  #look(sample) {
    this.#read = sample;
    this.#draw();
  }

  #frame() {
    const width = this.#plot.clientWidth;
    const first = this.#samples[0]?.at ?? 0;
    const until = this.#samples.at(-1)?.at ?? 0;
    const span = Math.min(WINDOW_MAX_MS, Math.max(WINDOW_MIN_MS, until - first));
    const most = Math.max(0, ...this.#samples.flatMap(({ values }) => values));
    return { width, span, from: until - span, until, top: roundAbove(most) };
  }

  #draw() {
    if (this.#isDue) return;
    this.#isDue = true;
    requestAnimationFrame(() => {
      this.#isDue = false;
      if (this.#read && !this.#samples.includes(this.#read)) this.#read = null;
      this.#caption();
      this.#paint();
    });
  }

  #caption() {
    const sample = this.#read ?? this.#samples.at(-1);
    if (!sample) return;
    const ago = Math.round((this.#samples.at(-1).at - sample.at) / 1_000);
    const when = this.#read ? `${ago} s ago` : "now";
    this.#when.textContent = when;
    sample.values.forEach((value, index) => { this.#values[index].textContent = shown(value); });
    const text = sample.values.map((value, index) => `${this.#names[index]} ${shown(value)}`);
    this.#plot.setAttribute("aria-valuemax", this.#samples.length - 1);
    this.#plot.setAttribute("aria-valuenow", this.#samples.indexOf(sample));
    // Said only to who reads: the values of now would be told each second.
    this.#plot.setAttribute("aria-valuetext", this.#read ? `${when}: ${text.join(", ")}` : "now");
  }

  #paint() {
    const { width, from, span, until, top } = this.#frame();
    if (width === 0) return;
    const x = (at) => ((at - from) / span) * width;
    const y = (value) => HEAD + (1 - value / top) * (HEIGHT - HEAD - FOOT);
    this.#canvas.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    const parts = [top, top / 2, 0].flatMap((value) => [
      svg("line", { class: "grid", x1: 0, x2: width, y1: y(value), y2: y(value) }),
      ...(value > 0 ? [svg("text", { x: 0, y: y(value) - 4 }, shown(value))] : []),
    ]);
    for (let ago = 0; ago <= span; ago += 60_000) {
      const [text, anchor] = ago === 0 ? ["now", "end"] : [`−${ago / 60_000} min`, ago === span ? "start" : "middle"];
      parts.push(svg("text", { x: x(until - ago), y: HEIGHT - 4, "text-anchor": anchor }, text));
    }
    this.#names.forEach((_, index) => {
      const { line, area } = this.#line(index, x, y);
      const which = index === 0 ? "first" : "second";
      if (index === 0) parts.push(svg("path", { class: `area ${which}`, d: area }));
      parts.push(svg("path", { class: `line ${which}`, d: line }));
    });
    parts.push(...this.#mark(x, y));
    this.#canvas.replaceChildren(...parts);
  }

  /** The path of a line, and of what is under it, in pieces where samples are missing. */
  #line(index, x, y) {
    const pieces = [];
    this.#samples.forEach(({ at, values }, place) => {
      const before = this.#samples[place - 1];
      if (!before || at - before.at > HOLE_MS) pieces.push([]);
      pieces.at(-1).push([x(at).toFixed(1), y(values[index]).toFixed(1)]);
    });
    const line = pieces.map((piece) => `M${piece.map((point) => point.join(" ")).join("L")}`);
    const area = pieces.map((piece, place) => `${line[place]}V${y(0)}H${piece[0][0]}Z`);
    return { line: line.join(""), area: area.join("") };
  }

  /** Where the reader is, or the last point of each line. */
  #mark(x, y) {
    const sample = this.#read ?? this.#samples.at(-1);
    if (!sample) return [];
    const at = x(sample.at);
    const dots = sample.values.map((value, index) =>
      svg("circle", { class: index === 0 ? "first" : "second", cx: at, cy: y(value), r: 3.5 }));
    const cursor = svg("line", { class: "cursor", x1: at, x2: at, y1: HEAD, y2: y(0) });
    return this.#read ? [cursor, ...dots] : dots;
  }
}
