// A wire to a port of 127.0.0.1 that can go dead: nothing gets through in either direction, and nobody is told. What was
// on its way arrives when it is mended, as late as that is.

import { once } from "node:events";
import { connect, createServer } from "node:net";

export class Wire {
  #ends = new Set();
  #isDead = false;

  static async to(port) {
    const wire = new Wire();
    // What it carries may end in one direction and go on in the other.
    wire.server = createServer({ allowHalfOpen: true }, (one) => wire.#carry(one, connect({ port, host: "127.0.0.1", allowHalfOpen: true })));
    wire.server.listen(0, "127.0.0.1");
    await once(wire.server, "listening");
    wire.port = wire.server.address().port;
    return wire;
  }

  #carry(one, other) {
    for (const [from, to] of [[one, other], [other, one]]) {
      this.#ends.add(from);
      if (!this.#isDead) from.pipe(to);
      from.on("error", () => to.destroy());
      from.on("close", () => this.#ends.delete(from));
      from.to = to;
    }
  }

  cut() {
    this.#isDead = true;
    for (const end of this.#ends) end.unpipe();
    for (const end of this.#ends) end.pause();
  }

  mend() {
    this.#isDead = false;
    for (const end of this.#ends) end.pipe(end.to);
  }

  stop() {
    this.server.close();
    for (const end of this.#ends) end.destroy();
  }
}
