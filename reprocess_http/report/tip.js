// Shows the whole of a text that is cut: under the pointer, or of the row that has the focus.
// It stays while the pointer is on it, and Escape closes it (WCAG 2.2, 1.4.13).
// Not for: what has no visible part, which belongs into the details.

class Tip {
  #tip = byId("tip");
  #closing;
  #beside = null;

  constructor() {
    document.addEventListener("pointerover", (event) => this.#over(event.target));
    document.addEventListener("focusin", (event) => this.#focused(event.target));
    document.addEventListener("focusout", () => this.#hide());
    document.addEventListener("keydown", (event) => event.key === "Escape" && this.#hide());
    addEventListener("scroll", () => this.#moved(), { passive: true, capture: true });
  }

  #over(target) {
    clearTimeout(this.#closing);
    if (this.#tip.contains(target)) return;
    const cut = target.closest?.(".cut");
    if (cut && isCut(cut)) this.#show(cut, [cut.textContent]);
    else this.#closing = setTimeout(() => this.#hide(), 150); // time to move onto it
  }

  /** A row tells all that is cut of it: its cells cannot have the focus. */
  #focused(target) {
    if (!target.matches(":focus-visible")) return;
    const whole = target.closest("tbody tr, .cause, .bars li, #run-list") ?? target;
    if (whole.id === "run-list") return; // it scrolls, and is not one text
    const cut = [...whole.querySelectorAll(".cut"), ...(whole.matches(".cut") ? [whole] : [])].filter(isCut);
    if (cut.length) this.#show(target, cut.map((one) => one.textContent));
  }

  #moved() {
    if (this.#beside?.matches(":hover, :focus")) this.#place();
    else if (!this.#tip.matches(":hover")) this.#hide();
  }

  #show(beside, texts) {
    this.#beside = beside;
    this.#tip.replaceChildren(...texts.map((text) => el("p", { dir: "auto" }, text)));
    show(this.#tip);
    this.#place();
  }

  #place() {
    const at = this.#beside.getBoundingClientRect();
    const own = this.#tip.getBoundingClientRect();
    const below = at.bottom + 4 + own.height < innerHeight;
    this.#tip.style.left = `${Math.max(8, Math.min(at.left, innerWidth - own.width - 8))}px`;
    this.#tip.style.top = `${below ? at.bottom + 4 : Math.max(8, at.top - own.height - 4)}px`;
  }

  #hide() {
    clearTimeout(this.#closing);
    this.#beside = null;
    show(this.#tip, false);
  }
}

function isCut(element) {
  return element.scrollWidth > element.clientWidth + 1 || element.scrollHeight > element.clientHeight + 2;
}
