// Sends orders to Doorman over RabbitMQ, and sees each of them through.
//
//     node send.mjs --orders=10
//
// A command is written into a file before it is sent, and struck off when its outcome has come back. So this may be
// killed at any moment and started again: what is not struck off is sent again under the same id, which has no second
// effect, and is answered again.

import { randomBytes } from "node:crypto";
import { load, save } from "./file.mjs";
import { connect, folder, numbers, prefix, shop, Trouble } from "./shop.mjs";

const exchange = `${prefix}.commands`;
const replies = `${shop}.replies`; // a queue of our own
const file = `${folder}/outbox.json`;

const { orders } = numbers({ orders: 10 });

// An id that rises with time (UUID version 7), as Doorman's indexes like it. It is made by who sends.
function uuid7() {
  const bytes = randomBytes(16);
  bytes.writeUIntBE(Date.now(), 0, 6);
  bytes[6] = (bytes[6] & 0x0f) | 0x70;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  return bytes.toString("hex").replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}

const command = (stream, type, ticket, data) => ({ id: uuid7(), stream, type, ticket, actor: "send.mjs", data });

// Two lines for each new order. The second one's ticket is the id of the first, so that nobody has to wait for the answer
// to the first. They may arrive in any order: of one order we send them in the wrong one. Its second command waits for
// its predecessor, and lands after it.
function begin(orders) {
  const outbox = [];
  for (let n = 0; n < orders; n++) {
    const stream = `order/${uuid7()}`;
    const first = command(stream, "add_line", "genesis", { sku: "A1", qty: 2, price_cents: 1250 });
    const second = command(stream, "add_line", first.id, { sku: "B2", qty: 1, price_cents: 300 });
    const both = [{ step: "one line", command: first }, { step: "two lines", command: second }];
    outbox.push(...(n === 0 ? both.reverse() : both));
  }
  return outbox;
}

// What to send after an outcome; nothing when the order is through, or other answers are to come first.
function next({ step, command: sent }, reply) {
  if (reply.status === "landed") {
    if (step === "two lines") {
      // Somebody who looked at the order when it had one line: the ticket is that of then.
      return { step: "changed", command: command(sent.stream, "change_line", sent.ticket, { sku: "A1", qty: 3 }) };
    }
    if (step === "changed") return { step: "submitted", command: command(sent.stream, "submit", reply.ticket, {}) };
    return undefined;
  }
  if (reply.reason === "stale_ticket") {
    // Somebody came first. The answer says who did what that we had not seen (missed), how things stand now (state), and
    // the ticket to try again with. Whether it still makes sense to try is for you to judge; here it does. It is a new
    // command: under the old id the answer stays the same for ever.
    const seen = reply.missed.map((change) => change.type).join(", ");
    console.log(`${sent.stream}: ${sent.type} came after ${seen}; again with ticket ${reply.ticket}`);
    return { step, command: command(sent.stream, sent.type, reply.ticket, sent.data) };
  }
  throw new Trouble(`${sent.stream}: ${sent.type} was rejected as ${reply.reason}: ${reply.detail}`);
}

let outbox = await load(file, undefined);
if (!outbox) await save(file, (outbox = begin(orders)));
const left = () => outbox.filter((entry) => !entry.outcome);

const { channel, close } = await connect(exchange);
// Durable, so that answers wait for us when we are away.
await channel.assertQueue(replies, { durable: true, arguments: { "x-queue-type": "quorum" } });
// mandatory: what no queue takes comes back, before it is confirmed. Otherwise it would be confirmed all the same, and lost.
let returned = 0;
channel.on("return", () => returned++);

async function publish(commands) {
  for (const c of commands) {
    channel.publish(exchange, "", Buffer.from(JSON.stringify(c)), {
      contentType: "application/json", persistent: true, mandatory: true, replyTo: replies, correlationId: c.id,
    });
  }
  await channel.waitForConfirms().catch((error) => { // the broker has them on disk, or no room for them
    throw new Trouble(`${exchange} does not take what is sent (${error.message}): it may be full; start me again later`);
  });
  if (returned > 0) throw new Trouble(`no queue takes what is sent to ${exchange}: is that Doorman's prefix?`);
}

async function onReply(message) {
  const { correlationId, contentType } = message.properties;
  if (contentType === "application/problem+json") { // it was refused: nothing happened, nothing is remembered
    throw new Trouble(`${correlationId} was refused: ${message.content}`);
  }
  // Answers can come twice; who is struck off is not found.
  const known = left().find((entry) => entry.command.id === correlationId);
  if (known) {
    known.outcome = JSON.parse(message.content);
    const follows = next(known, known.outcome);
    if (follows) outbox.push(follows);
    await save(file, outbox); // struck off, and what follows put in: both or nothing
    if (follows) await publish([follows.command]);
  }
  // Only now. Would we die before this line, the answer came again, and would be known.
  channel.ack(message);
}

await publish(left().map((entry) => entry.command));
// Replies are handled one after another, whatever is waited for in between.
let handled = Promise.resolve();
await new Promise((settled, failed) => {
  const handle = (message) => {
    handled = handled.then(() => onReply(message)).then(() => left().length || settled()).catch(failed);
  };
  if (left().length === 0) settled();
  else channel.consume(replies, handle).catch(failed);
});
await close();
console.log("all is settled");
