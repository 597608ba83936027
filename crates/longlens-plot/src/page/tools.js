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
// the same in three digits and all whole ones, for scales and cells
const rounded = (value, unit) => withUnit(Math.abs(value) >= 1000 ? Math.round(value) : Number(value.toPrecision(3)), unit);
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

// The decoder of zlib's format (RFC 1950 and 1951) at once: a browser's own would only come after the page counts as loaded, and what
// takes a picture of a loaded page would find it empty.
const EXTRA = {
  length: [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0],
  back: [0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13],
};
// the lowest number that each code stands for
const leastOf = (extra, first) => extra.map((_, at) => first + extra.slice(0, at).reduce((sum, bits) => sum + 2 ** bits, 0));
const LEAST = { length: [...leastOf(EXTRA.length, 3).slice(0, 28), 258], back: leastOf(EXTRA.back, 1) };
const LENGTHS_ORDER = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];
// words of so many bits are found at once, longer ones bit by bit
const QUICK = 9;
// a canonical code from the bits of each sign's word; in `quick` the bits and the sign that begin a row of bits
const codeOf = lengths => {
  const counts = new Uint16Array(16),
    places = new Uint16Array(16),
    words = new Uint16Array(16),
    signs = new Uint16Array(lengths.length),
    quick = new Uint16Array(1 << QUICK);
  lengths.forEach(bits => counts[bits]++);
  counts[0] = 0;
  for (let bits = 1; bits < 15; bits++) {
    places[bits + 1] = places[bits] + counts[bits];
    words[bits + 1] = (words[bits] + counts[bits]) << 1;
  }
  lengths.forEach((bits, sign) => {
    if (!bits) return;
    signs[places[bits]++] = sign;
    const word = words[bits]++;
    if (bits > QUICK) return;
    const turned = range(bits).reduce((sum, at) => sum | (((word >> at) & 1) << (bits - 1 - at)), 0);
    for (let row = turned; row < 1 << QUICK; row += 1 << bits) quick[row] = (bits << QUICK) | sign;
  });
  return { counts, signs, quick };
};
const FIXED = [codeOf(range(288).map(at => (at < 144 ? 8 : at < 256 ? 9 : at < 280 ? 7 : 8))), codeOf(range(30).map(() => 5))];
const inflate = base64 => {
  const text = atob(base64),
    input = new Uint8Array(text.length);
  for (let place = 0; place < text.length; place++) input[place] = text.charCodeAt(place);
  let out = new Uint8Array(4 * input.length + 64),
    size = 0,
    at = 2,
    held = 0,
    n_held = 0;
  const bits = n => {
    while (n_held < n) {
      if (at >= input.length) throw new Error("its data end too early");
      held |= input[at++] << n_held;
      n_held += 8;
    }
    const value = held & ((1 << n) - 1);
    held >>>= n;
    n_held -= n;
    return value;
  };
  const sign = ({ counts, signs, quick }) => {
    while (n_held < QUICK && at < input.length) {
      held |= input[at++] << n_held;
      n_held += 8;
    }
    const found = quick[held & ((1 << QUICK) - 1)],
      n = found >> QUICK;
    if (n && n <= n_held) {
      held >>>= n;
      n_held -= n;
      return found & ((1 << QUICK) - 1);
    }
    let code = 0,
      first = 0,
      place = 0;
    for (let length = 1; length < 16; length++) {
      code |= bits(1);
      if (code - counts[length] < first) return signs[place + code - first];
      place += counts[length];
      first = (first + counts[length]) << 1;
      code <<= 1;
    }
    throw new Error("its data are broken");
  };
  const room = n => {
    if (size + n <= out.length) return;
    const larger = new Uint8Array(2 * (size + n));
    larger.set(out);
    out = larger;
  };
  const codes = () => {
    const [n_signs, n_backs, n_words] = [bits(5) + 257, bits(5) + 1, bits(4) + 4];
    const words = new Array(19).fill(0);
    range(n_words).forEach(word => {
      words[LENGTHS_ORDER[word]] = bits(3);
    });
    const code = codeOf(words),
      lengths = [];
    while (lengths.length < n_signs + n_backs) {
      const word = sign(code);
      if (word < 16) lengths.push(word);
      else {
        const before = word === 16 ? lengths[lengths.length - 1] : 0;
        const times = word === 16 ? 3 + bits(2) : word === 17 ? 3 + bits(3) : 11 + bits(7);
        for (let time = 0; time < times; time++) lengths.push(before);
      }
    }
    return [codeOf(lengths.slice(0, n_signs)), codeOf(lengths.slice(n_signs, n_signs + n_backs))];
  };
  for (let last = 0; !last; ) {
    last = bits(1);
    const kind = bits(2);
    if (kind === 0) {
      // whole bytes that were read ahead belong to what follows
      at -= n_held >> 3;
      held = n_held = 0;
      const n = input[at] | (input[at + 1] << 8);
      room(n);
      out.set(input.subarray(at + 4, at + 4 + n), size);
      size += n;
      at += 4 + n;
      continue;
    }
    const [literals, backs] = kind === 1 ? FIXED : codes();
    for (let word = sign(literals); word !== 256; word = sign(literals)) {
      room(258);
      if (word < 256) {
        out[size++] = word;
        continue;
      }
      const n = LEAST.length[word - 257] + bits(EXTRA.length[word - 257]);
      const back = sign(backs),
        from = size - (LEAST.back[back] + bits(EXTRA.back[back]));
      for (let copied = 0; copied < n; copied++) out[size++] = out[from + copied];
    }
  }
  return out.slice(0, size).buffer;
};

const unpack = packed => {
  const bytes = inflate(packed.data);
  if (packed.type === "f32") return new Float32Array(bytes);
  if (packed.type === "f64") return new Float64Array(bytes);
  if (packed.type === "u32") return new Uint32Array(bytes);
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
    sizes = new Uint32Array(inflate(packed.sizes)),
    decoder = new TextDecoder();
  let end = 0;
  return Array.from(sizes, size => decoder.decode(all.subarray(end, (end += size))));
};

// everything packed in `data`, in its place
const unpackAll = owner => {
  for (const [name, value] of Object.entries(owner)) {
    if (value === null || typeof value !== "object") continue;
    if (typeof value.type === "string" && typeof value.data === "string") owner[name] = unpack(value);
    else if (name !== "table" && name !== "about") unpackAll(value);
  }
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
