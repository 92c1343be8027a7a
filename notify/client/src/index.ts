/**
 * The browser's half of a doorman: actions leave at once, each with the id of the one before as its ticket, and are
 * shown before they have landed. The README has a tour.
 */
import type { ClientOptions } from './client.ts';
import { Client } from './client.ts';
import { feeds } from './feed.ts';
import type { Auth } from './http.ts';
import { http } from './http.ts';
import { uuid } from './ids.ts';
import type { Clock, Transport } from './types.ts';

export type { Handle, Merge } from './act.ts';
export type { Client, ClientOptions } from './client.ts';
export type { Conflict, Rest } from './conflict.ts';
export type { Auth } from './http.ts';
export { http } from './http.ts';
export type { Draft, SendOptions, StreamOptions } from './options.ts';
export type { Stream } from './stream.ts';
export * from './types.ts';

/** What `connect` takes. */
export interface ConnectOptions extends ClientOptions {
  /** The credential: the value of the Authorization header. It is asked again when that is not taken. */
  auth?: Auth;
  /** Instead of {@link http}, which it may wrap. */
  transport?: Transport;
  /** Instead of the real time. */
  clock?: Clock;
}

// Random bytes for many ids: asking for them takes longer than all else that an id needs.
const dice = new Uint8Array(2048);
let used = dice.length;

/** The real time. */
export const clock: Clock = {
  now: () => Date.now(),
  random: Math.random,
  id: () =>
    uuid(Date.now(), (n) => {
      if (used + n > dice.length) {
        crypto.getRandomValues(dice);
        used = 0;
      }
      return dice.subarray(used, (used += n));
    }),
  after(ms, fn) {
    const t = setTimeout(fn, ms);
    return () => clearTimeout(t);
  },
  soon: (fn) => queueMicrotask(fn),
  frame(fn) {
    let once = () => {
      once = () => {};
      fn();
    };
    const draw = globalThis.requestAnimationFrame as typeof requestAnimationFrame | undefined;
    draw?.(() => once());
    // A hidden page draws nothing.
    setTimeout(() => once(), draw ? 100 : 16);
  },
};

/** A client of the server at that address; the page's own when it is empty. Throws a TypeError for what is no address. */
export function connect(url: string | URL = '', options: ConnectOptions = {}): Client {
  const base = `${url}`.replace(/\/+$/, '');
  const time = options.clock ?? clock;
  const transport = options.transport ?? http(base, options.auth);
  const client = new Client(base, options, transport, time, feeds(transport, time));
  const online = () => client.wake();
  globalThis.addEventListener?.('online', online);
  client.closing = () => globalThis.removeEventListener?.('online', online);
  return client;
}
