"use strict";

// One page, one view. Data come from the element `data`; texts among them are put into the page as text alone, never as markup.
//
// The parts of the script stand in one file: small tools, packed data, colours; what all views share (state, tooltip, words, canvas,
// table; `shared.js`); grids of heads and attention along the text (`profile.js`); then the views (`heads.js`, `map.js`, `lines.js`), each a
// function that builds its part of the page and returns how it is drawn and what keys do there; and the page around them (`page.js`).

// ---- small tools ----

const make = (name, properties, ...children) => {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(properties || {})) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) element.setAttribute(key, value);
  }
  element.append(...children.filter(child => child !== null && child !== undefined));
  return element;
};
const clamp = (value, low, high) => Math.max(low, Math.min(high, value));
const range = n => Array.from({ length: n }, (_, at) => at);

// a number in so many digits as tell it apart at a glance
const short = value => {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  if (Number.isInteger(value)) return String(value);
  const size = Math.abs(value);
  return size !== 0 && (size < 1e-3 || size >= 1e6) ? value.toExponential(2) : String(Number(value.toPrecision(4)));
};
const percent = share => (share > 0 ? `${short(100 * share)} %` : "0 %");
// the same in two digits, for scales
const rounded = (value, unit) => withUnit(Number(value.toPrecision(2)), unit);
const withUnit = (value, unit) => {
  if (Number.isNaN(value)) return "not known";
  return unit === "share" ? percent(value) : `${short(value)}${unit ? ` ${unit}` : ""}`;
};

// signs that would move or hide others are shown as a sign of their own
const visible = text =>
  text
    .replace(/\n/g, "⏎")
    .replace(/\t/g, "⇥")
    .replace(/[\u0000-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g, "�");

// ---- packed data ----

const inflate = async base64 => {
  const bytes = Uint8Array.from(atob(base64), sign => sign.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Response(stream).arrayBuffer();
};

const unpack = async packed => {
  const bytes = await inflate(packed.data);
  if (packed.type === "f32") return new Float32Array(bytes);
  if (packed.type === "u8") return new Uint8Array(bytes);
  if (packed.type === "share8") {
    const share = code => (code === 0 ? 0 : packed.floor ** (1 - (code - 1) / 253));
    const shares = Float32Array.from({ length: 256 }, (_, code) => share(code));
    return Float32Array.from(new Uint8Array(bytes), code => shares[code]);
  }
  if (packed.type === "step16") {
    return Float32Array.from(new Uint16Array(bytes), code => (code === 65535 ? NaN : packed.low + packed.step * code));
  }
  const all = new Uint8Array(bytes),
    sizes = new Uint32Array(await inflate(packed.sizes)),
    decoder = new TextDecoder();
  let end = 0;
  return Array.from(sizes, size => decoder.decode(all.subarray(end, (end += size))));
};

// everything packed in `data`, in its place
const unpackAll = async data => {
  const parts = [];
  const walk = owner => {
    for (const [name, value] of Object.entries(owner)) {
      if (value === null || typeof value !== "object") continue;
      if (typeof value.type === "string" && typeof value.data === "string") {
        parts.push(
          unpack(value).then(values => {
            owner[name] = values;
          }),
        );
      } else if (name !== "table" && name !== "about") walk(value);
    }
  };
  walk(data);
  await Promise.all(parts);
};

// ---- colours ----

const LIGHT = [
  [241, 243, 246],
  [201, 222, 240],
  [122, 178, 220],
  [45, 116, 186],
  [9, 48, 112],
];
const DARK = [
  [27, 32, 39],
  [33, 70, 110],
  [35, 125, 165],
  [95, 195, 175],
  [250, 240, 165],
];
const isDark = () => document.documentElement.dataset.theme === "dark";
const css = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const ramp = share => {
  const stops = isDark() ? DARK : LIGHT;
  const place = clamp(share, 0, 1) * (stops.length - 1),
    at = Math.min(Math.floor(place), stops.length - 2);
  return stops[at].map((part, of) => Math.round(part + (stops[at + 1][of] - part) * (place - at)));
};
const rgb = ([red, green, blue]) => `rgb(${red},${green},${blue})`;
// letters that can be read on a colour, `rgb(…)` or `#rrggbb`
const inkOn = color => {
  const parts = color.startsWith("#")
    ? [1, 3, 5].map(at => parseInt(color.slice(at, at + 2), 16))
    : color.match(/\d+/g).map(Number);
  return (parts[0] * 3 + parts[1] * 6 + parts[2]) / 10 > 140 ? "#101418" : "#f4f6f8";
};
const RAMP_STEPS = 255;
const palette = () => Uint8Array.from(range(RAMP_STEPS + 1).flatMap(step => ramp(step / RAMP_STEPS)));
// how many powers of ten a logarithmic scale shows
const DECADES = 4;
// where a number stands between nothing and the highest that is shown, 0 to 1
const scaled = (value, top, isLog) => {
  if (!(value > 0) || top <= 0) return 0;
  return isLog ? clamp(1 + Math.log10(value / top) / DECADES, 0, 1) : value / top;
};
