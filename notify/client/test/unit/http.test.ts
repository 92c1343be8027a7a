// The shell: fetch, server-sent events and the long poll, on a real socket.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { connect, http } from '../../src/index.ts';
import type { Answer } from '../../src/types.ts';

async function serve(handle: (q: IncomingMessage, r: ServerResponse, body: string) => void): Promise<{ url: string; close(): void }> {
  const s = createServer(async (q, r) => {
    let body = '';
    for await (const chunk of q) body += chunk;
    handle(q, r, body);
  });
  s.listen(0, '127.0.0.1');
  await once(s, 'listening');
  return { url: `http://127.0.0.1:${(s.address() as AddressInfo).port}`, close: () => s.close(() => {}).closeAllConnections() };
}

const post = (t: ReturnType<typeof http>) => new Promise<Answer>((r) => t.post('[1]', r));

test('on 401 a new credential is asked for once, and the same goes out again', async () => {
  const seen: string[] = [];
  const s = await serve((q, r, body) => {
    seen.push(`${q.headers.authorization} ${body}`);
    r.writeHead(q.headers.authorization == 'new' ? 202 : 401, { 'retry-after': '3' }).end('[]');
  });
  const asked: boolean[] = [];
  const t = http(s.url, async (renew) => {
    asked.push(renew);
    return renew ? 'new' : 'old';
  });
  const answers = await Promise.all([post(t), post(t)]);
  assert.deepEqual(answers, [{ status: 202, body: [], later: 3000 }, { status: 202, body: [], later: 3000 }]);
  assert.deepEqual(asked, [false, true]);
  assert.deepEqual(seen.sort(), ['new [1]', 'new [1]', 'old [1]', 'old [1]']);
  s.close();
});

test('without a credential nothing leaves, and nothing is of unknown fate', async () => {
  const t = http('http://127.0.0.1:1', () => Promise.reject(new Error('not signed in')));
  assert.deepEqual(await post(t), { status: 401 });
});

test('why there is no credential is told, and what is no address at once', async () => {
  const signedOut = new Error('not signed in');
  const t = http('http://127.0.0.1:1', () => Promise.reject(signedOut));
  const why = await new Promise((end) => t.listen({ streams: [], sessions: [], deliver: 'state' }, false, { open() {}, event() {}, mark() {}, end }));
  assert.deepEqual(why, { problem: signedOut });
  assert.throws(() => connect('doorman.example'), TypeError);
  assert.throws(() => connect(), TypeError, 'only a page has one of its own');
  connect(new URL('http://127.0.0.1:1')).close();
});

test('what nobody answers is of unknown fate', async () => {
  const s = await serve((q) => q.socket.destroy());
  assert.deepEqual(await post(http(s.url)), { status: 0 });
  s.close();
});

test('server-sent events are read however they are cut', async () => {
  const text = ': ok\n\nretry: 5\n\nevent: state\ndata: {"stream":"a/1","x":"ü"}\n\nevent: landed\r\ndata: {"id":1}\r\nid: e-2\r\n\r\nid: e-3\n\n:\n\n';
  const s = await serve(async (q, r, body) => {
    assert.equal(q.headers.accept, 'text/event-stream');
    assert.deepEqual(JSON.parse(body), { streams: ['a/1@new'], sessions: ['s'], deliver: 'state' });
    r.writeHead(200, { 'content-type': 'text/event-stream' });
    for (const b of Buffer.from(text)) {
      r.write(Buffer.from([b]));
      await new Promise((f) => setImmediate(f));
    }
    r.end();
  });
  const seen: any[] = [];
  await new Promise<void>((done) => {
    http(s.url).listen({ streams: ['a/1@new'], sessions: ['s'], deliver: 'state' }, false, {
      open: () => seen.push('open'), event: (n, d) => seen.push([n, d]), mark: (m) => seen.push(m), end: () => done(),
    });
  });
  assert.deepEqual(seen, ['open', ['state', { stream: 'a/1', x: 'ü' }], ['landed', { id: 1 }], 'e-2', 'e-3']);
  s.close();
});

test('a connection on which nothing comes is given up as held back by a proxy', async (context) => {
  context.mock.timers.enable({ apis: ['setTimeout'] });
  const arrived = new Promise<void>((yes) => {
    void serve((_q, r) => {
      r.writeHead(200).flushHeaders();
      yes();
    }).then((s) => {
      http(s.url).listen({ streams: [], sessions: [], deliver: 'state' }, false, {
        open: () => assert.fail('nothing came'), event() {}, mark() {},
        end: (why) => {
          ended(why);
          s.close();
        },
      });
    });
  });
  let ended!: (why: any) => void;
  const end = new Promise<any>((r) => (ended = r));
  await arrived;
  context.mock.timers.tick(8_001);
  assert.equal((await end).quiet, true);
});

test('the long poll goes on from where it was', async () => {
  const asked: any[] = [];
  const s = await serve((q, r, body) => {
    asked.push([q.headers.prefer, JSON.parse(body)]);
    if (asked.length > 2) return void r.writeHead(503, { 'retry-after': '7' }).end('{"code":"unavailable"}');
    r.end(JSON.stringify({ after: `e-${asked.length}`, items: [{ event: 'state', data: { n: asked.length } }] }));
  });
  const seen: any[] = [];
  const why = await new Promise((done) => {
    http(s.url).listen({ streams: ['a/1@new', 'b/2@7'], sessions: ['s'], deliver: 'state' }, true, {
      open() {}, event: (n, d) => seen.push([n, d]), mark: (m) => seen.push(m), end: done,
    });
  });
  assert.deepEqual(seen, [['state', { n: 1 }], 'e-1', ['state', { n: 2 }], 'e-2']);
  assert.deepEqual(asked.map(([p, b]) => [p, b.after, b.streams]), [
    ['wait=25', undefined, ['a/1@new', 'b/2@7']], ['wait=25', 'e-1', ['a/1', 'b/2']], ['wait=25', 'e-2', ['a/1', 'b/2']],
  ]);
  assert.deepEqual(why, { later: 7000, problem: { code: 'unavailable' } });
  s.close();
});

test('statuses are asked for in addresses that are not too long', async () => {
  const sizes: number[] = [];
  const s = await serve((q, r) => {
    const ids = new URL(q.url!, 'http://x').searchParams.getAll('id');
    sizes.push(ids.length);
    r.end(JSON.stringify(ids.map((id) => ({ id }))));
  });
  const list = await new Promise<any>((r) => http(s.url).statuses(Array.from({ length: 130 }, (_, i) => `${i}`), r));
  assert.deepEqual([sizes.sort(), list.length, list[129].id], [[100, 30], 130, '129']);
  s.close();
});
