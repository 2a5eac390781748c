// Who somebody is changes: another session id, so that one that was planted or noted before is worth nothing.

/** `who` ({ sid, sub, name }) has logged in, or (undefined) nobody is logged in any more. */
export async function becomes(request, who) {
  const before = request.session;
  request.login = who;
  await new Promise((done, failed) => before.regenerate((error) => (error ? failed(error) : done())));
  if (!who) return;
  request.session.who = who;
  // The cart of somebody who was nobody yet comes along, and so does one's own.
  if (before.cart && (before.who?.sub ?? who.sub) === who.sub) request.session.cart = before.cart;
}

/** Writes now: what a browser does after a redirect must find it. */
export const save = ({ session }) => new Promise((done, failed) => session.save((error) => (error ? failed(error) : done())));
