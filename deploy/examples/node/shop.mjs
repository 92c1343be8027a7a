// What both programs need: where everything is, and one line, with exit code 1, for what is not there.

import amqp from "amqplib";
import { stat } from "node:fs/promises";
import { parseArgs } from "node:util";

const env = process.env;
const url = env.AMQP_URL ?? "amqp://guest:guest@127.0.0.1:5672";
export const prefix = env.DOORMAN_RABBITMQ_PREFIX ?? "doorman"; // of Doorman's exchanges
export const doorman = env.DOORMAN_URL ?? "http://127.0.0.1:8080";
export const shop = env.SHOP ?? "shop"; // of our own queues
export const folder = env.SHOP_FOLDER ?? ".";

// Trouble is what is wrong around us. Other errors are mistakes in the program, and show where.
export class Trouble extends Error {}

export function fail(error) {
  console.error(error instanceof Trouble ? error.message.replace(/\s+/g, " ") : error);
  process.exit(1);
}
process.on("uncaughtException", fail);

// cause is why something failed, which fetch keeps within.
export const cause = (error) => error.cause?.message || error.cause?.code || error.message || error.code;

// numbers reads the command line: which options there are, and what each is when it is not given.
export function numbers(otherwise) {
  const options = Object.fromEntries(Object.keys(otherwise).map((name) => [name, { type: "string" }]));
  let given;
  try {
    given = parseArgs({ options }).values;
  } catch (error) {
    throw new Trouble(error.message);
  }
  for (const [name, text] of Object.entries(given)) {
    if (!/^\d+$/.test(text)) throw new Trouble(`--${name} is ${JSON.stringify(text)} and must be a number`);
  }
  return Object.fromEntries(Object.keys(otherwise).map((name) => [name, Number(given[name] ?? otherwise[name])]));
}

if (!(await stat(folder).catch(() => undefined))?.isDirectory()) {
  throw new Trouble(`there is no folder ${folder}: SHOP_FOLDER names the one to keep files in`);
}

// connect gives a channel to a RabbitMQ that has an exchange of Doorman's, and what closes it again.
export async function connect(exchange) {
  if (!URL.canParse(url)) throw new Trouble("AMQP_URL is no address such as amqp://guest:guest@127.0.0.1:5672");
  const connection = await amqp.connect(url).catch((error) => {
    throw new Trouble(`no connection to RabbitMQ at ${new URL(url).host} (${cause(error)}): AMQP_URL says where it is`);
  });
  connection.on("error", () => {}); // its channel is closed, too
  const channel = await connection.createConfirmChannel();
  let why = "the connection was lost: start me again";
  channel.on("error", (error) => { why = `RabbitMQ refuses: ${error.message}`; });
  await channel.checkExchange(exchange).catch((error) => { // makes none, and fails without one
    throw new Trouble(`there is no exchange ${exchange} (${error.message}): does Doorman run on this RabbitMQ, and is ` +
      "DOORMAN_RABBITMQ_PREFIX what its names begin with?");
  });
  const lost = () => fail(new Trouble(why)); // what was not acknowledged comes again
  channel.on("close", lost);
  return { channel, close: async () => {
    channel.off("close", lost);
    await channel.close();
    await connection.close();
  } };
}
