// Keeps a table of all orders, from the events that Doorman tells over RabbitMQ.
//
//     node follow.mjs
//
// The table is in a JSON file, and with each order how far it is: the sequence of its last event. Both are saved together,
// and only then are events acknowledged. So this may be killed at any moment: what was not acknowledged comes again, and
// what was saved already is known by its sequence.

import { load, save } from "./file.mjs";
import { cause, connect, doorman, folder, numbers, prefix, shop, Trouble } from "./shop.mjs";

numbers({}); // there are no options

const exchange = `${prefix}.events`;
const queue = `${shop}.events`; // our own; each service has one
const file = `${folder}/orders.json`;

// What an event makes of an order. /asyncapi.json has all of them, and what is in each.
function apply(order, type, data) {
  switch (type) {
    case "line_added":
      order.lines[data.sku] = { qty: data.qty, price_cents: data.price_cents };
      break;
    case "line_changed":
      order.lines[data.sku].qty = data.qty;
      break;
    case "line_removed":
      delete order.lines[data.sku];
      break;
    case "submitted":
    case "approved":
    case "refused":
      order.status = type;
      break;
    default: // owner_assigned, and those to come, change nothing here, and count all the same
  }
}

// What happened on a stream, over HTTP: for what was before our queue, and for what it had no room for.
async function changelog(stream, after) {
  const all = [];
  for (;;) {
    const answer = await fetch(`${doorman}/v1/streams/${stream}/events?after=${after}`).catch((error) => {
      throw new Trouble(`the changelog of ${stream} cannot be read at ${doorman} (${cause(error)}): DOORMAN_URL says where Doorman is`);
    });
    if (!answer.ok) throw new Trouble(`the changelog of ${stream}: ${await answer.text()}`);
    const page = await answer.json();
    if (page.length === 0) return all;
    all.push(...page);
    after = page.at(-1).version;
  }
}

// Brings the table up to an event. Taking it again changes nothing.
async function take(orders, headers, content) {
  const { cloudEvents_subject: stream, cloudEvents_source: source, cloudEvents_type: type } = headers;
  const sequence = Number(headers.cloudEvents_sequence);
  const order = (orders[stream] ??= { sequence: 0, source, status: "draft", lines: {} });
  if (order.source !== source) {
    throw new Trouble(`${stream} is of ${order.source} here, and now comes ${source}: that is another log, so begin with another file`);
  }
  if (sequence <= order.sequence) return; // a repeat
  if (sequence === order.sequence + 1) {
    apply(order, type, JSON.parse(content));
    order.sequence = sequence;
    return;
  }
  for (const change of await changelog(stream, order.sequence)) { // something is missing in between
    apply(order, change.type, change.data);
    order.sequence = change.version;
  }
}

const orders = await load(file, {});
const { channel } = await connect(exchange);
// A quorum queue survives the loss of a broker. It grows while we are away: bound it (x-max-length), and see in README.md
// what happens when it is full.
await channel.assertQueue(queue, { durable: true, arguments: { "x-queue-type": "quorum" } });
await channel.bindQueue(queue, exchange, "order.*");
await channel.prefetch(100);

const waiting = [];
let wake = () => {};
await channel.consume(queue, (message) => {
  waiting.push(message);
  wake();
});
process.on("SIGTERM", () => process.exit(0)); // wherever we are
console.log("following");

for (;;) {
  if (waiting.length === 0) await new Promise((resolve) => { wake = resolve; });
  // All that has come is taken and saved with one write, and then acknowledged with one word: everything up to the last.
  const batch = waiting.splice(0);
  for (const message of batch) await take(orders, message.properties.headers, message.content);
  await save(file, orders);
  channel.ack(batch.at(-1), true);
}
