// Somebody with a browser without JavaScript: it keeps cookies, follows redirects and sends forms.

import assert from "node:assert/strict";
import { request } from "node:http";

const REDIRECTS_MAX = 12;
const NAVIGATES = { accept: "text/html,*/*;q=0.8", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document" };

export class Browser {
  #cookies = new Map();

  // Somebody else with the same cookies.
  copy() {
    const copy = new Browser();
    for (const [host, jar] of this.#cookies) copy.#cookies.set(host, new Map(jar));
    return copy;
  }

  // Goes to a URL and on, wherever it is sent. Gives where it ended: `url`, `status`, `text`, `headers`.
  async goto(url, request = {}) {
    const way = [];
    for (let next = { url, ...request }; way.length <= REDIRECTS_MAX; ) {
      const { url, ...options } = next;
      way.push(`${options.method ?? "GET"} ${url}`);
      const answer = await this.#send(url, options);
      const { location } = answer.headers;
      if (!location || answer.status < 300 || answer.status > 399) return { url, way, ...answer };
      next = { url: new URL(location, url).href };
      // The system hands it to an app.
      if (!next.url.startsWith("http")) return { ...answer, ...next, way };
      if ([307, 308].includes(answer.status)) Object.assign(next, options);
    }
    throw new Error(`it is sent round for ever:\n${way.join("\n")}`);
  }

  // Sends the form with this id, or the only one, of a page that `goto` gave.
  async submit(page, fields = {}, id) {
    const forms = [...page.text.matchAll(/<form\b([^>]*)>([^]*?)<\/form>/g)].map(([, head, body]) => ({ head, body }));
    const form = id ? forms.find(({ head }) => attribute(head, "id") === id) : forms[0];
    assert.ok(form, `no form ${id ?? ""} at ${page.url} (${page.status}):\n${page.text}`);
    const filled = new URLSearchParams();
    for (const [input] of form.body.matchAll(/<input\b[^>]*>/g)) {
      const [name, type] = [attribute(input, "name"), attribute(input, "type")];
      if (name && type === "hidden") filled.set(name, attribute(input, "value") ?? "");
    }
    for (const [name, value] of Object.entries(fields)) filled.set(name, value);
    const headers = { "content-type": "application/x-www-form-urlencoded", origin: new URL(page.url).origin };
    const action = new URL(attribute(form.head, "action") ?? page.url, page.url).href;
    return this.goto(action, { method: "POST", headers, body: filled.toString() });
  }

  async #send(url, { headers, body, method }) {
    const { hostname } = new URL(url);
    const jar = this.#cookies.get(hostname) ?? new Map();
    this.#cookies.set(hostname, jar);
    const cookie = [...jar].map(([name, value]) => `${name}=${value}`).join("; ");
    const answer = await send(url, { method, headers: { ...NAVIGATES, ...(cookie && { cookie }), ...headers } }, body);
    for (const set of answer.headers["set-cookie"] ?? []) {
      const [pair, ...attributes] = set.split(";");
      const name = pair.slice(0, pair.indexOf("=")).trim();
      const isOver = attributes.some((it) => /^\s*max-age=(0|-\d+)\s*$/i.test(it) || isPast(it));
      if (isOver) jar.delete(name);
      else jar.set(name, pair.slice(pair.indexOf("=") + 1).trim());
    }
    return answer;
  }
}

// Not `fetch`, which says of itself that it is a script.
function send(url, options, body) {
  return new Promise((done, failed) => {
    const asked = request(url, options, async (answer) => {
      const text = (await answer.setEncoding("utf8").toArray().catch(failed))?.join("");
      done({ status: answer.statusCode, headers: answer.headers, text });
    });
    asked.on("error", failed).end(body);
  });
}

const isPast = (attribute) => Date.parse(attribute.match(/^\s*expires=(.*)$/i)?.[1]) < Date.now();

const NAMED = { quot: '"', apos: "'", lt: "<", gt: ">", amp: "&" };

function attribute(tag, name) {
  const [, value] = tag.match(new RegExp(`\\b${name}="([^"]*)"`)) ?? [];
  const character = (_, decimal, hex, named) => NAMED[named] ?? String.fromCodePoint(Number(decimal ?? `0x${hex}`));
  return value?.replaceAll(/&(?:#(\d+)|#x([0-9a-f]+)|(quot|apos|lt|gt|amp));/gi, character);
}
