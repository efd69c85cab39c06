// The messages as they come, newest first. However fast they come, the page draws once a frame and
// keeps the last ones.

const ROWS_MAX = 200;
const TEXT_MAX = 2_000;

const clock = new Intl.DateTimeFormat("en-GB", { timeStyle: "medium" });

function span(name, text) {
  const element = document.createElement("span");
  element.className = name;
  element.textContent = text;
  return element;
}

/** What is shown of an envelope: a mark where it is no message, whence, and what. */
function parts({ type, payload }) {
  const { channel, data, offset, user, code, reason, message, connection } = payload ?? {};
  switch (type) {
    case "message":
      return { from: channel ?? "to you", note: [user, offset !== undefined && `#${offset}`], text: JSON.stringify(data) };
    case "join":
    case "leave":
      return { mark: type, from: channel, text: user ?? connection };
    case "gap":
      return { mark: "gap", from: channel, text: offset === undefined ? "messages were lost" : `messages up to #${offset} were lost` };
    case "unsubscribed":
      return { mark: "ended", from: channel, text: `${code}: ${reason}` };
    case "error":
      return { mark: "error", from: code, text: message };
    default:
      return { mark: type, from: channel ?? "", text: payload ? JSON.stringify(payload) : "" };
  }
}

function row({ at, envelope }) {
  const { mark, from, note = [], text } = parts(envelope);
  const element = document.createElement("li");
  element.dataset.type = envelope.type;
  const time = document.createElement("time");
  time.dateTime = at.toISOString();
  time.textContent = clock.format(at);
  const head = document.createElement("p");
  head.append(time, ...(mark ? [span("mark", mark)] : []), span("channel", from));
  head.append(...note.filter(Boolean).map((it) => span("note", it)));
  const body = document.createElement("code");
  body.textContent = text.length > TEXT_MAX ? `${text.slice(0, TEXT_MAX)}… (${text.length} characters)` : text;
  element.append(head, body);
  return element;
}

export class Feed {
  #waiting = [];
  #count = 0;
  #isPaused = false;
  #isDue = false;
  #list;
  #said;

  constructor({ list, said, pause, clear }) {
    this.#list = list;
    this.#said = said;
    pause.addEventListener("click", () => {
      this.#isPaused = !this.#isPaused;
      pause.setAttribute("aria-pressed", this.#isPaused);
      pause.textContent = this.#isPaused ? "Go on" : "Pause";
      this.#draw();
    });
    clear.addEventListener("click", () => {
      this.#waiting = [];
      this.#count = 0;
      this.#list.replaceChildren();
      this.#draw();
    });
  }

  add(envelope) {
    this.#count += 1;
    this.#waiting.push({ at: new Date(), envelope });
    if (this.#waiting.length > ROWS_MAX) this.#waiting.shift();
    this.#draw();
  }

  #draw() {
    if (this.#isDue) return;
    this.#isDue = true;
    requestAnimationFrame(() => {
      this.#isDue = false;
      const held = this.#isPaused && this.#waiting.length > 0 ? ", more came since" : "";
      this.#said.textContent = this.#count > 0 ? `${this.#count.toLocaleString("en")}${held}` : "";
      if (this.#isPaused) return;
      this.#list.prepend(...this.#waiting.reverse().map(row));
      this.#waiting = [];
      while (this.#list.children.length > ROWS_MAX) this.#list.lastElementChild.remove();
    });
  }
}
