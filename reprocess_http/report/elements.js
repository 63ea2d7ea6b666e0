// Makes and changes elements. Every text goes in as text: a name can never become markup.
// Not for: what is on the page.

function byId(id) {
  return document.getElementById(id);
}

/** Make an element of attributes and children; a child that is a string becomes a text node. */
function el(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== false) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== "" && child !== undefined));
  return made;
}

/** Write a text only when it is another one: what is unchanged costs no layout. */
function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function mark(element, name, value) {
  if (element.getAttribute(name) !== value) element.setAttribute(name, value);
}

function show(element, shown = true) {
  element.hidden = !shown;
}

/** Offer these choices, of [value, text], and what is chosen, also when it is none of them. */
function fillSelect(select, choices, value) {
  const known = choices.some(([one]) => one === value) ? choices : [...choices, [value, value]];
  const isSame = known.length === select.length && known.every(([one], place) => one === select[place].value);
  if (!isSame) select.replaceChildren(...known.map(([one, text]) => el("option", { value: one }, text)));
  select.value = value;
}

/** Put other children into an element; an opened part stays open, the focus on its control. */
function redraw(element, ...children) {
  const controls = () => [...element.querySelectorAll("button, summary, [tabindex]")];
  const focused = controls().indexOf(document.activeElement);
  const isOpen = element.querySelector("details")?.open ?? false;
  element.replaceChildren(...children);
  if (isOpen) element.querySelector("details").open = true;
  if (focused >= 0) controls()[focused]?.focus({ preventScroll: true });
}

/** The colour of a plan, beside its word. */
function swatch(plan) {
  return el("span", { class: `swatch ${plan}`, "aria-hidden": "true" });
}

/** Say something to those who do not see the page change. */
function announce(text) {
  say(byId("live"), text);
}

/** Do this once before the next frame, however often it is asked for until then. */
function oncePerFrame(action) {
  let asked = false;
  return () => {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => {
      asked = false;
      action();
    });
  };
}
