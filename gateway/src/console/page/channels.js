// The list of channels. It is new each second, so rows stay where they are and change their text:
// the button that has the focus keeps it.

export class ChannelList {
  #rows = new Map();
  #body;
  #title;
  #said;
  #mine;
  #toggle;

  /** `mine` is what the page is subscribed to; `toggle` is called with a channel's name. */
  constructor({ body, title, said }, mine, toggle) {
    this.#body = body;
    this.#title = title;
    this.#said = said;
    this.#mine = mine;
    this.#toggle = toggle;
  }

  /** Shows the channels, which come in the order of their names. */
  show({ list, total }) {
    const names = new Set(list.map(({ channel }) => channel));
    for (const [name, { row }] of this.#rows) {
      if (names.has(name)) continue;
      if (row.contains(document.activeElement)) this.#title.focus();
      row.remove();
      this.#rows.delete(name);
    }
    let next = this.#body.firstElementChild;
    for (const { channel, subscribers } of list) {
      const known = this.#rows.get(channel) ?? this.#add(channel, next);
      known.count.textContent = subscribers.toLocaleString("en");
      next = known.row.nextElementSibling;
    }
    this.#said.textContent = total > list.length ? `the first ${list.length} of ${total.toLocaleString("en")}` : total || "";
    this.mark();
  }

  /** Says at each channel whether the page is subscribed. */
  mark() {
    for (const [channel, { row, button }] of this.#rows) {
      const isMine = this.#mine.has(channel);
      row.classList.toggle("is-mine", isMine);
      const verb = isMine ? "Unsubscribe" : "Subscribe";
      button.textContent = verb;
      button.setAttribute("aria-label", `${verb} ${isMine ? "from" : "to"} ${channel}`);
    }
  }

  #add(channel, before) {
    const row = document.createElement("tr");
    const name = document.createElement("th");
    name.scope = "row";
    name.textContent = channel;
    const count = document.createElement("td");
    const button = document.createElement("button");
    button.type = "button";
    button.className = "quiet";
    button.addEventListener("click", () => this.#toggle(channel));
    const action = document.createElement("td");
    action.append(button);
    row.append(name, count, action);
    this.#body.insertBefore(row, before);
    const known = { row, count, button };
    this.#rows.set(channel, known);
    return known;
  }
}
