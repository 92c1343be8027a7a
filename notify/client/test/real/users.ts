// Users on a real server, through a network that loses, doubles and cuts: node users.js URL SEED. Leaves with 0 when
// every client ends with the server's state and nothing was lost or done twice.
import assert from 'node:assert/strict';
import type { Client, Stream, Transport } from '../../src/index.ts';
import { clock, connect } from '../../src/index.ts';
import { http } from '../../src/http.ts';
import { chance } from '../sim/time.ts';

const [url, seed] = process.argv.slice(2) as [string, string];
const random = chance(+seed);
const pause = (ms: number) => new Promise((r) => setTimeout(r, ms));
const patience = +(process.env.PATIENCE ?? 60_000);
let calm = false;

/** The real network, made worse. */
function bad(net: Transport, poll: boolean): Transport {
  const luck = (p: number) => !calm && random() < p;
  return {
    ...net,
    post(body, done) {
      if (luck(0.15)) return void setTimeout(() => done({ status: 0 }), 100);
      const lost = luck(0.15);
      net.post(body, (a) => setTimeout(() => done(lost ? { status: 0 } : a), random() * 50));
      if (luck(0.15)) setTimeout(() => net.post(body, () => {}), random() * 200);
    },
    listen(ask, _poll, on) {
      let over = false;
      const end = (why?: any) => {
        if (over) return;
        over = true;
        on.end(why);
      };
      const stop = net.listen(ask, poll, { ...on, end });
      const cut = setTimeout(() => {
        if (calm || over) return;
        stop();
        end();
      }, 200 + random() * 1500);
      return () => {
        over = true;
        clearTimeout(cut);
        stop();
      };
    },
  };
}

interface User {
  client: Client;
  stream: Stream;
  deeds: { tag: string; handle: ReturnType<Stream['send']> }[];
}

const name = `document/${clock.id()}`;
const predict = { create: (_: any, d: any) => d, patch: (s: any, d: any) => ({ ...s, ...d }) };
const users: User[] = [];
let conflicts = 0;
for (let i = 0; i < 4; i++) {
  const client = connect(url, {
    transport: bad(http(url), i == 3), actor: `user ${i}`,
    // Most insist; some give up.
    onConflict: (c) => {
      conflicts++;
      setTimeout(() => (random() < 0.7 || c.mine.type == 'create' ? c.retry() : c.drop({ rest: 'carry' })), random() * 30);
    },
  });
  users.push({ client, stream: client.stream(name, { initial: {}, predict, fresh: i == 0 }), deeds: [] });
}
const [first] = users as [User];
const created = first.stream.send('create', { made: true });
first.deeds.push({ tag: 'made', handle: created });
await created.outcome;
for (let n = 0; n < 100; n++) {
  const i = Math.floor(random() * users.length);
  const u = users[i]!;
  const tag = `u${i}-${n}`;
  u.deeds.push({ tag, handle: u.stream.send('patch', { [tag]: n }) });
  if (random() < 0.3) await pause(random() * 120);
}
calm = true;
const until = Date.now() + patience;
for (const u of users) {
  for (const d of u.deeds)
    await Promise.race([d.handle.outcome, pause(until - Date.now()).then(() => assert.fail(`${d.tag} is ${d.handle.status} for ever: ${JSON.stringify(u.stream._chain.map((a: any) => [a.id.slice(-6), a.tries, a.busy, a.murk, a.ok, a.next, a.held?.id.slice(-6), a.calm, a.ticket?.slice(-6)])) + ` now ${Date.now()} conflict ${u.stream.conflict?.reason} ${u.stream.conflict?.decided} connected ${u.client.connected}`}`))]);
}
const server: any = await (await fetch(`${url}/v1/streams/${name}`)).json();
while (users.some((u) => u.stream.version != server.version || u.stream.pending.length) && Date.now() < until) await pause(20);
const changes: any[] = [];
for (let page: any[] = []; ; ) {
  page = await (await fetch(`${url}/v1/streams/${name}/events?limit=100&after=${changes.at(-1)?.version ?? 0}`)).json() as any[];
  if (!page.length) break;
  changes.push(...page);
}
for (const u of users) {
  assert.deepEqual(u.stream.confirmed, server.state);
  assert.deepEqual(u.stream.state, server.state);
  for (const { tag, handle } of u.deeds) {
    const times = changes.filter((c) => tag in c.data).length;
    assert.equal(times, +(handle.result!.status == 'landed'), `${tag} ${handle.status}`);
  }
  u.client.close();
}
console.log(`${changes.length} landed, ${conflicts} conflicts`);
process.exit(0);
