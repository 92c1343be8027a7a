import assert from 'node:assert/strict';
import type { Weather } from '../sim/network.ts';
import { calm } from '../sim/network.ts';
import type { Outcome } from '../sim/rules.ts';
import { Server } from '../sim/server.ts';
import { chance, Time } from '../sim/time.ts';
import type { Plan } from './plan.ts';
import type { Deed } from './user.ts';
import { User } from './user.ts';

const weathers: Weather[] = [
  calm,
  { slow: 300, judge: 300, lose: 0, twice: 0.1, trouble: 0, cut: 0.02, expired: 0 },
  { slow: 1000, judge: 1500, lose: 0.1, twice: 0.2, trouble: 0.1, cut: 0.1, expired: 0.02 },
  { slow: 4000, judge: 4000, lose: 0.3, twice: 0.3, trouble: 0.3, cut: 0.3, expired: 0.1 },
];

/** Lets a plan happen, then the weather clear up, and looks at what has become of everything. */
export function play(plan: Plan): void {
  const time = new Time();
  const random = chance(plan.seed);
  const server = new Server(time, random);
  server.rules.limits.stream = plan.parked;
  server.limits.parked_per_stream = plan.parked;
  const names = Array.from({ length: plan.streams }, (_, i) => `journal/${i}`);
  const users = Array.from({ length: plan.users }, (_, i) => new User(i, server, time, random, names, plan.fresh, weathers[plan.weather]!));
  for (const step of plan.steps) {
    time.pass(step.gap);
    const name = names[step.stream % names.length]!;
    if (step.do == 'reset') server.reset();
    else if (step.do == 'operator') operate(server, name);
    else users[step.user % users.length]!.do(step, name);
  }
  clearUp(users, time, names);
  for (const u of users) judge(u, server, names);
}

function operate(server: Server, name: string): void {
  const parked = [...server.rules.instance(name).parked.keys()].sort()[0];
  if (parked) (server as any).told(server.rules.operator(name, parked, 'not now'));
}

/** The weather clears up, and everybody decides, until nothing is left to do. */
function clearUp(users: User[], time: Time, names: string[]): void {
  for (const u of users) {
    u.network.weather = calm;
    u.network.offline = false;
  }
  for (let round = 0; round < 400; round++) {
    time.pass(round < 100 ? 1000 : 10_000);
    let open = 0;
    for (const u of users)
      for (const name of names) {
        const s = u.stream(name);
        open += s.pending.length;
        if (s.conflict) u.decide(s, /^(stale|ticket)/.test(s.conflict.reason) && round < 200 ? 'retry' : 'drop', round % 3 ? 'carry' : 'drop');
      }
    if (!open && round > 5) {
      time.pass(100_000); // Until the longest pause between two attempts is over.
      return;
    }
  }
  const left = users.flatMap((u) => names.flatMap((n) => u.stream(n).pending.map((h) => `${h.id} ${h.type} ${h.status}`)));
  assert.deepEqual(left, [], 'something never ends');
}

function judge(u: User, server: Server, names: string[]): void {
  assert.deepEqual(u.faults, []);
  for (const name of names) {
    const s = u.stream(name);
    const inst = server.rules.instance(name);
    assert.deepEqual(s.confirmed, inst.state ?? [], `u${u.index} has another ${name} than the server`);
    assert.deepEqual(s.state, s.confirmed);
    assert.equal(s.version, inst.version);
    assert.equal(s.conflict, undefined);
  }
  for (const d of u.deeds.values()) ended(d, server);
  for (const name of names) inOrder(u, name, server);
  roots(u, server);
}

/** No action is lost, none happens twice, and its user was told the truth. */
function ended(d: Deed, server: Server): void {
  const tags: string[] = server.rules.instance(d.stream).state ?? [];
  const times = tags.filter((t) => t == d.tag).length;
  if (!d.handle) {
    assert.equal(times, 0, `${d.tag} went without having been kept`);
    return;
  }
  const { result, status } = d.handle;
  assert.ok(result, `${d.tag} has no outcome`);
  assert.equal(status, result.status);
  const happens = d.type != 'look' && result.status == 'landed';
  assert.equal(times, +happens, `${d.tag} ${result.status}, and is there ${times} times`);
  if (happens && d.policy != 'any' && d.policy != 'session') {
    // Nobody overwrites what they never saw.
    const o = server.log.find((l) => l.status == 'landed' && l.env.data?.tags?.includes(d.tag))!;
    const before = tags.slice(0, tags.indexOf(o.env.data.tags[0]));
    const unseen = before.filter((t) => !t.startsWith(`u${d.user}-`) && !d.seen.has(t));
    if (!loose(o, server)) assert.deepEqual(unseen, [], `${d.tag} overwrote what its user never saw`);
  }
}

/** Whether something unchecked is among those that an action followed. */
function loose(o: Outcome, server: Server): boolean {
  for (let f = server.rules.facts.get(o.env.ticket!); f; f = server.rules.facts.get(f.env.ticket!)) {
    if (f.env.policy == 'any' || f.env.policy == 'session') return true;
    if (f.env.session != o.env.session) return false;
  }
  return false;
}

/** Own actions land in the order in which they were done, as long as none of them needed a decision. */
function inOrder(u: User, name: string, server: Server): void {
  const decided = u.ever.size > 0;
  const free = [...u.deeds.values()].some((d) => d.stream == name && (d.policy == 'any' || d.policy == 'session'));
  if (decided || free) return;
  const mine: string[] = (server.rules.instance(name).state ?? []).filter((t: string) => t.startsWith(`u${u.index}-`));
  const sorted = [...mine].sort((a, b) => +a.split('-')[1]! - +b.split('-')[1]!);
  assert.deepEqual(mine, sorted, `what u${u.index} did came in another order`);
}

/** Every root rejection was told. That none is told twice is watched while it happens. */
function roots(u: User, server: Server): void {
  // The last one is how a refusal is made certain; it goes under the refusal's own name.
  const silent = ['predecessor_missing', 'parking_full', 'self_ticket'];
  for (const o of server.log) {
    if (o.env.session != `session${u.index}` || o.status == 'landed') continue;
    if (o.root != o.env.id || silent.includes(o.reason!)) continue;
    // What waited on a refused one went with that; what waited on one that came too late went out again with it.
    const gone = (id: string) => u.ever.has(id) || silent.includes(server.rules.facts.get(id)?.outcome?.reason ?? '');
    let t = o.env.ticket;
    while (t && !gone(t) && u.tickets.get(t) != t) t = u.tickets.get(t);
    if (t && gone(t)) continue;
    assert.ok(u.ever.has(o.env.id), `the rejection of ${o.env.id} (${o.reason}) was never told`);
  }
  for (const id of u.ever) {
    const f = server.rules.facts.get(id);
    assert.ok(!f || f.standing == 'rejected', `${id} was told as rejected, and is ${f?.standing}`);
  }
}
