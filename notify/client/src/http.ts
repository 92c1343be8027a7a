import type { Ask, CommandView, Listener, Transport } from './types.ts';

/** A credential: what goes into the Authorization header. `renew`: the last one was not taken. */
export type Auth = (renew: boolean) => string | undefined | Promise<string | undefined>;

/** No sign of life for so long, in ms: before the first byte, and after it (the server beats every 15 s). */
const FIRST = 8_000;
const NEXT = 40_000;
const POST = 30_000;
/** Ids in one question, so that its address stays below what proxies take. */
const IDS = 100;

const later = (r: Response): number | undefined => {
  const h = r.headers.get('retry-after');
  return h ? +h * 1e3 || Math.max(0, Date.parse(h) - Date.now()) || 0 : undefined;
};

/** The server at that address, by fetch. */
export function http(base: string, auth?: Auth): Transport {
  new Request(base + '/v1/'); // Throws for what is no address.
  let credential: Promise<string | undefined> | undefined;
  const ask = (renew: boolean) => {
    const p = (async () => auth?.(renew))();
    p.catch(() => 0); // Whoever needs it will see.
    return p;
  };

  const request = async (path: string, init: RequestInit, headers: Record<string, string> = {}): Promise<Response> => {
    for (let again = false; ; again = true) {
      const mine = (credential ??= ask(again));
      let value: string | undefined;
      try {
        value = await mine;
      } catch (problem) {
        if (credential == mine) credential = undefined;
        throw { problem };
      }
      if (value) headers.Authorization = value;
      const r = await fetch(base + '/v1/' + path, { signal: AbortSignal.timeout(POST), ...init, headers, cache: 'no-store' });
      if (r.status != 401) return r;
      // Whoever comes first asks for a new one.
      if (credential == mine) credential = ask(true);
      if (again || !auth) return r;
    }
  };
  const json = { 'Content-Type': 'application/json' };
  const get = async (path: string): Promise<any> => {
    const r = await request(path, {});
    return r.ok ? r.json() : Promise.reject(r.status);
  };

  return {
    post(body, done) {
      request('commands', { method: 'POST', body }, { ...json })
        .then(async (r) => done({ status: r.status, body: await r.json().catch(() => 0), later: later(r) }))
        .catch((e) => done({ status: 'problem' in e ? 401 : 0 }));
    },
    statuses(ids, done) {
      const parts: Promise<CommandView[]>[] = [];
      for (let i = 0; i < ids.length; i += IDS) parts.push(get('commands?id=' + ids.slice(i, i + IDS).join('&id=')));
      Promise.all(parts).then((p) => done(p.flat()), () => done());
    },
    limits: (done) => void get('limits').then(done, () => done()),
    listen: (ask, poll, on) => listen(ask, poll, on, (body, headers, signal) =>
      request('notifications', { method: 'POST', body: JSON.stringify(body), signal }, { ...json, ...headers })),
  };
}

function listen(
  ask: Ask, poll: boolean, on: Listener,
  request: (ask: Ask, headers: Record<string, string>, signal: AbortSignal) => Promise<Response>,
): () => void {
  const stop = new AbortController();
  let dog: any;
  let stopped = false;
  let quiet = false;
  const watch = (ms: number, first = false) => {
    clearTimeout(dog);
    dog = setTimeout(() => {
      quiet = first;
      stop.abort();
    }, ms);
  };
  const run = async () => {
    for (;;) {
      watch(poll ? 2 * POST : FIRST, !poll);
      const r = await request(ask, poll ? { Accept: 'application/json', Prefer: 'wait=25' } : { Accept: 'text/event-stream' }, stop.signal);
      if (!r.ok) return { later: later(r), problem: await r.json().catch(() => ({ status: r.status })) };
      if (!poll) return read(r, () => watch(NEXT), on);
      const { after, items } = await r.json();
      if (stopped) return;
      on.open();
      for (const i of items) on.event(i.event, i.data);
      on.mark(after);
      ask = { ...ask, after, streams: ask.streams.map((s) => s.split('@')[0]!) };
    }
  };
  run()
    .catch((e) => ('problem' in e ? e : undefined))
    .then((why) => {
      clearTimeout(dog);
      stop.abort();
      if (!stopped) on.end(why ?? { quiet });
    });
  return () => {
    stopped = true;
    on = { open() {}, event() {}, mark() {}, end() {} };
    clearTimeout(dog);
    stop.abort();
  };
}

/** Reads server-sent events to their end. */
async function read(r: Response, alive: () => void, on: Listener): Promise<undefined | { quiet: boolean }> {
  if (!r.body) return { quiet: true };
  const reader = r.body.getReader();
  const decoder = new TextDecoder();
  let rest = '';
  let m: Record<string, string> = {};
  for (let first = true; ; first = false) {
    const { done, value } = await reader.read();
    if (done) return;
    alive();
    if (first) on.open();
    const lines = (rest + decoder.decode(value, { stream: true })).split(/\r?\n/);
    rest = lines.pop()!;
    for (const line of lines) {
      const [, field, text] = /^(\w+): ?(.*)$/.exec(line) ?? [];
      if (field) m[field] = field == 'data' && m.data ? m.data + '\n' + text : text!;
      else if (!line) {
        if (m.data) on.event(m.event ?? '', JSON.parse(m.data));
        if (m.id) on.mark(m.id);
        m = {};
      }
    }
  }
}
