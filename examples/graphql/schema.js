// A board of messages. `who` is whom the sidecar let in.

import { GraphQLError, buildSchema } from "graphql";
import { EventEmitter, on } from "node:events";

export const schema = buildSchema(`
  type User { id: ID! roles: [String!]! }
  type Message { id: ID! text: String! by: ID! }
  type Query { me: User! messages: [Message!]! }
  type Mutation { post(text: String!): Message! clear: Boolean! }
  type Subscription { posted: Message! }
`);

const MESSAGES_MAX = 100;
const TEXT_CHARS_MAX = 500;
const messages = [];
const board = new EventEmitter().setMaxListeners(0);

// `graphql` calls these with the arguments and what the handler gives as context.
export const root = {
  me: (_, { who }) => ({ id: who.subject, roles: who.roles }),
  messages: () => messages,

  post({ text }, { who }) {
    if (text.length > TEXT_CHARS_MAX) throw new GraphQLError(`a message has at most ${TEXT_CHARS_MAX} characters`);
    const message = { id: String(Date.now()), text, by: who.subject };
    messages.push(message);
    messages.splice(0, messages.length - MESSAGES_MAX);
    board.emit("posted", message);
    return message;
  },

  // Who may do what is decided where it is done, not where it came in.
  clear(_, { who }) {
    if (!who.roles.includes("admin")) throw new GraphQLError("only administrators clear the board");
    messages.length = 0;
    return true;
  },

  async *posted(_, { over }) {
    for await (const [posted] of on(board, "posted", { signal: over })) yield { posted };
  },
};
