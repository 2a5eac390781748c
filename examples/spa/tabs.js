// Tokens in memory, shared by all tabs of this origin. One tab leads: it alone refreshes, whoever needs a token. It leads as
// long as it holds a lock, which the browser gives to another tab when it is closed or crashes.

const EARLY_MS = 30_000;

export class Tabs {
  #tokens = null;
  #leads = false;
  #refreshing = null;
  #waiting = new Set();
  #channel = new BroadcastChannel("tokens");

  /** `refresh(tokens)` gives the next tokens; `changed(tokens)` is called whenever somebody logs in or out. */
  constructor({ refresh, changed }) {
    Object.assign(this, { refresh, changed });
    this.#channel.onmessage = ({ data }) => this.#hear(data);
  }

  /** Resolves to the tokens that another tab has, or to null in the first tab. */
  start() {
    return new Promise((ready) => {
      this.#waiting.add(ready);
      navigator.locks.request("tokens", () => this.#lead());
      this.#channel.postMessage({ ask: "tokens" });
    });
  }

  /** After a login, or with null after a logout: in all tabs. */
  set(tokens) {
    this.#channel.postMessage({ tokens });
    this.#take(tokens);
  }

  /** An access token that is good for a while, or null. */
  async accessToken() {
    if (this.#tokens && this.#tokens.until - EARLY_MS <= Date.now()) {
      if (this.#leads) await this.#refresh();
      else await this.#askLeader();
    }
    return this.#tokens?.access_token ?? null;
  }

  // Who leads now goes on with what the others were waiting for; the tab that led before may have begun it. Then this is the
  // same refresh token again, and the server gives the same answer.
  async #lead() {
    this.#leads = true;
    this.#channel.postMessage({ ask: "who asked" });
    if (this.#tokens && this.#waiting.size > 0) await this.#refresh();
    this.#answer();
    await new Promise(() => {});
  }

  #refresh() {
    this.#refreshing ??= this.refresh(this.#tokens)
      .then((tokens) => this.set(tokens))
      .finally(() => (this.#refreshing = null));
    return this.#refreshing;
  }

  #askLeader() {
    return new Promise((done) => {
      this.#waiting.add(done);
      this.#channel.postMessage({ ask: "fresh" });
    });
  }

  async #hear({ ask, tokens }) {
    if (tokens !== undefined) return this.#take(tokens);
    // The tab that was asked is gone: its successor is asked again.
    if (ask === "who asked" && this.#waiting.size > 0) this.#channel.postMessage({ ask: "fresh" });
    if (!this.#leads) return;
    // Of those who ask at once the first makes it refresh, and all get the same.
    if (ask === "fresh") await this.accessToken().catch(() => {});
    this.#channel.postMessage({ tokens: this.#tokens });
  }

  #take(tokens) {
    const isOther = Boolean(tokens) !== Boolean(this.#tokens);
    this.#tokens = tokens;
    this.#answer();
    if (isOther) this.changed(tokens);
  }

  #answer() {
    for (const done of this.#waiting) done(this.#tokens);
    this.#waiting.clear();
  }
}
