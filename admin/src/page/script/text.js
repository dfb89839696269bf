"use strict";
// Elements and text. Whatever came from outside goes into the page as text, never as markup.

const at = (id) => document.getElementById(id);

/** An element with these attributes; children are elements, or text. */
function make(name, attributes = {}, ...children) {
  return filled(document.createElement(name), attributes, children);
}

/** The same of SVG. */
function draw(name, attributes = {}, ...children) {
  return filled(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);
}

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child != null && child !== ""));
  return element;
}

/** Sets the text only where it differs: screen readers are told of nothing, and a selection stays. */
function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

// Control and format characters: they could hide text, turn its direction, or look like nothing.
const UNSEEN = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Co}\p{Cn}\p{Cs}\u00a0\u115f\u1160\u3164\uffa0\u{fe00}-\u{fe0f}]/gu;

/** Text from outside as it is shown: what cannot be seen is named. */
function shown(value) {
  const text = typeof value === "string" ? value : JSON.stringify(value) ?? "";
  return text.replace(UNSEEN, (sign) => `⟨U+${sign.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}⟩`);
}

const whole = new Intl.NumberFormat("en");
const isNumber = (value) => typeof value === "number" && Number.isFinite(value);

function count(value) {
  return isNumber(value) ? whole.format(value) : "–";
}

function rate(value) {
  if (!isNumber(value)) return "–";
  return value >= 100 ? whole.format(Math.round(value)) : value >= 10 ? value.toFixed(1) : value.toFixed(value ? 2 : 0);
}

function millis(value) {
  if (!isNumber(value)) return "–";
  if (value >= 10000) return `${(value / 1000).toFixed(1)} s`;
  if (value >= 1000) return `${(value / 1000).toFixed(2)} s`;
  return `${value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2)} ms`;
}

function bytes(value) {
  if (!isNumber(value)) return "–";
  let [size, unit] = [value, 0];
  while (size >= 1024 && unit < 4) [size, unit] = [size / 1024, unit + 1];
  return unit ? `${size.toFixed(size < 10 ? 1 : 0)} ${["", "KiB", "MiB", "GiB", "TiB"][unit]}` : `${Math.round(size)} B`;
}

/** Seconds in words, two units at most. */
function span(seconds) {
  if (!isNumber(seconds)) return "–";
  const units = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
  const from = units.findIndex(([size]) => seconds >= size);
  if (from < 0) return "0 s";
  const [[size, unit], next] = [units[from], units[from + 1]];
  const rest = next ? Math.floor((seconds % size) / next[0]) : 0;
  return `${Math.floor(seconds / size)} ${unit}${rest ? ` ${rest} ${next[1]}` : ""}`;
}

const two = (number) => String(number).padStart(2, "0");

/** The time of day here, of a time in RFC 3339 or in milliseconds. */
function clock(time) {
  const date = new Date(time);
  if (Number.isNaN(date.getTime())) return "–";
  return [date.getHours(), date.getMinutes(), date.getSeconds()].map(two).join(":");
}

/** The day, too, where it is another one. */
function moment(time) {
  const date = new Date(time);
  if (Number.isNaN(date.getTime())) return "–";
  const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
  return date.toDateString() === new Date().toDateString() ? clock(time) : `${day} ${clock(time)}`;
}
