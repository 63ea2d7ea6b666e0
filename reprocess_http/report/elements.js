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

/** The pattern of a plan, beside its word: colour alone tells nothing on paper. */
function swatch(plan) {
  return el("span", { class: `swatch ${plan}`, "aria-hidden": "true" });
}

/** Say something to those who do not see the page change. */
function announce(text) {
  say(byId("live"), text);
}
