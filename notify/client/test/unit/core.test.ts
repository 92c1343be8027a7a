// What the README promises, one by one, with nothing left to chance.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bytes } from '../../src/act.ts';
import { uuid } from '../../src/ids.ts';
import { clock } from '../../src/index.ts';
import type { CommandView } from '../../src/types.ts';
import { Stage } from '../sim/wire.ts';

const name = 'journal/1';
const add = (s: string[], d: any) => [...s, ...d.tags];
const options = { initial: [] as string[], predict: { add, odd: add } };
const begin = (more = {}) => {
  const stage = new Stage();
  const client = stage.client('ann');
  const stream = client.stream<string[]>(name, { ...options, ...more });
  const send = (tag: string, o = {}) => stream.send('add', { tags: [tag] }, o);
  /** Somebody else lands something. */
  const other = (tag: string) => {
    stage.server.post(JSON.stringify([{ id: `bob-${tag}`, stream: name, type: 'add', policy: 'any', session: '', actor: 'bob',
      ticket: 'genesis', data: { tags: [tag] } }]), 0);
    stage.time.pass(0);
  };
  return { stage, client, stream, send, other };
};
const leaves = (stage: Stage) => stage.posts.map((p) => p.body.map((c) => c.data?.tags?.join('+') ?? '-'));
const code = (wanted: string) => (e: any) => e.code == wanted;

test('a stream known to be new is sent to at once, each action with the id of the one before as its ticket', () => {
  const { stage, stream, send } = begin({ fresh: true });
  const [a, b] = [send('a'), send('b')];
  assert.deepEqual(stream.state, ['a', 'b'], 'it is shown before anything else happens');
  assert.deepEqual([a.status, stream.pending.length], ['queued', 2]);
  stage.time.settle();
  assert.equal(a.status, 'sent');
  assert.deepEqual(stage.posts[0]!.body.map((c) => [c.id, c.ticket]), [[a.id, 'genesis'], [b.id, a.id]]);
});

test('otherwise the first action waits for the first state, invisibly', () => {
  const { stage, stream, send, other } = begin();
  other('x');
  send('a');
  stage.time.settle();
  assert.deepEqual([stage.posts.length, stream.state], [0, ['a']]);
  stage.time.pass(100);
  assert.equal(stage.posts[0]!.body[0].ticket, 'bob-x');
  assert.deepEqual(stream.state, ['x', 'a']);
});

test('data is copied, and what the server would never take is refused before anything leaves', () => {
  const { stage, stream } = begin({ fresh: true });
  const data = { tags: ['a'] };
  stream.send('add', data);
  data.tags.push('b');
  assert.throws(() => stream.send('add', { text: 'x'.repeat(300_000) }), code('too_large'));
  let deep: any = 1;
  for (let i = 0; i < 31; i++) deep = [deep];
  assert.throws(() => stream.send('add', deep), code('malformed'));
  stream.send('look', deep[0]);
  assert.throws(() => stream.send('add', '\ud800'), code('malformed'));
  stream.send('look', '\\ud800 and \u{1F600}');
  for (const type of ['', undefined, 5, 'No Such Type']) assert.throws(() => stream.send(type as string, 1), code('malformed'));
  const circle: any = {};
  circle.itself = { circle };
  let abyss: any = 1;
  for (let i = 0; i < 100_000; i++) abyss = { abyss };
  for (const bad of [circle, abyss, 5n]) assert.throws(() => stream.send('add', bad), code('malformed'));
  assert.throws(() => stage.client('eve').stream('No Such Name'), code('malformed'));
  stage.time.settle();
  assert.deepEqual(stage.posts.flatMap((p) => p.body).map((c) => c.type), ['add', 'look', 'look']);
  assert.deepEqual(stage.posts[0]!.body[0].data, { tags: ['a'] });
});

test('128 past the oldest that is not accepted, in arrays of what the server takes', () => {
  const { stage, client, send } = begin({ fresh: true });
  Object.assign(client.limits, { max_array: 50 });
  for (let i = 0; i < 200; i++) send(`${i}`);
  stage.time.settle();
  assert.deepEqual(leaves(stage).map((p) => p.length), [50, 50, 28]);
  stage.server.limits = { ...stage.server.limits, max_array: 256, max_body: 1e6 };
  const first = stage.posts.shift()!;
  first.arrive();
  first.answer();
  assert.deepEqual(leaves(stage).map((p) => p.length), [50, 28, 50]);
});

test('arrays are split by bytes too', () => {
  const { stage, client, stream } = begin({ fresh: true });
  Object.assign(client.limits, { max_body: 1000 });
  for (let i = 0; i < 5; i++) stream.send('add', { tags: ['ü'.repeat(130)] });
  stage.time.settle();
  assert.ok(stage.posts.length > 1);
  for (const p of stage.posts) assert.ok(Buffer.byteLength(JSON.stringify(p.body)) <= 1000);
});

test('what has not left is merged with what follows it, only when nothing stands between', async () => {
  const merge = (a: any, b: any) => ({ tags: [...a.tags, ...b.tags] });
  const { stage, stream, send } = begin({ fresh: true });
  const first = send('a', { merge });
  const second = send('b', { merge });
  stream.send('look', { tags: [] });
  send('c', { merge });
  stage.time.settle();
  assert.deepEqual(leaves(stage), [['a+b', '', 'c']]);
  send('d', { merge });
  stage.time.settle();
  assert.deepEqual(leaves(stage)[1], ['d'], 'what has left is not touched');
  assert.deepEqual(stream.state, ['a', 'b', 'c', 'd']);
  stage.run();
  assert.deepEqual([(await first.outcome).id, (await second.outcome).status], [first.id, 'landed']);
  assert.equal(await first.accepted, true);
});

test('under the policies session and any one POST of a stream is on its way', () => {
  for (const policy of ['session', 'any'] as const) {
    const { stage, send } = begin({ fresh: true });
    send('a');
    stage.time.settle();
    send('b', { policy });
    send('c');
    stage.time.settle();
    assert.deepEqual(leaves(stage), [['a']]);
    stage.posts[0]!.arrive();
    stage.posts.shift()!.answer();
    assert.deepEqual(leaves(stage), [['b', 'c']]);
  }
});

test('a lost POST is sent again under its id; what expired meanwhile follows silently under another', () => {
  const { stage, stream, send } = begin({ fresh: true });
  const a = send('a');
  stage.time.settle();
  const b = send('b');
  stage.time.settle();
  const ids = [a.id, b.id];
  const [lost, other] = stage.posts.splice(0);
  other!.arrive();
  other!.answer();
  stage.time.pass(31_000); // The second one expires.
  lost!.answer({ status: 0 });
  stage.run(60_000);
  assert.deepEqual(stage.state(name), ['a', 'b']);
  assert.equal(a.id, ids[0]);
  assert.notEqual(b.id, ids[1]);
  assert.deepEqual([a.status, b.status, stream.conflict], ['landed', 'landed', undefined]);
});

test('when the server has forgotten what it told, the user is asked in the end', () => {
  const { stage, client, stream, send } = begin({ fresh: true });
  send('a');
  stage.run();
  const b = send('b');
  const seen = new Set<string>();
  for (let i = 0; i < 10; i++) {
    stage.time.pass(1000);
    for (const p of stage.posts.splice(0)) p.answer({ status: 202, body: p.body.map((c) => ({ id: c.id, status: 'accepted' })) });
    assert.equal(stream.conflict, undefined);
    seen.add(b.id);
    client.event('rejected', { stream: name, id: b.id, reason: 'predecessor_missing', root: b.id });
  }
  stage.time.pass(1000);
  assert.equal(seen.size, 10);
  assert.equal(stream.conflict!.reason, 'predecessor_missing');
});

test('a form is based on what was shown when it was opened, whatever came since but own actions', () => {
  const { stage, stream, send, other } = begin();
  stage.run();
  const form = stream.draft();
  send('own');
  stage.run();
  assert.equal(form.send('add', { tags: ['form'] }).status, 'queued');
  stage.run();
  assert.deepEqual(stage.state(name), ['own', 'form']);
  const late = stream.draft();
  other('x');
  stage.run();
  late.send('add', { tags: ['late'] });
  stage.run();
  assert.equal(stream.conflict?.reason, 'stale_ticket');
});

test('a conflict shows what is newest; what is new waits behind it; one decision carries the rest along', () => {
  const { stage, stream, send, other } = begin();
  stage.run();
  stage.held = true;
  other('x');
  const [mine, next] = [send('mine'), send('next')];
  stage.run();
  stage.release();
  stage.run();
  const c = stream.conflict!;
  assert.deepEqual([c.mine, c.rest, c.state, c.missed.map((m) => m.command.actor)], [mine, [next], ['x'], ['bob']]);
  assert.deepEqual(stream.state, ['x'], 'it was rolled back, with what followed it');
  const later = send('later');
  assert.deepEqual(stream.state, ['x', 'later']);
  other('y');
  stage.run();
  assert.equal(stream.conflict, c);
  assert.deepEqual([c.state, c.missed.length, c.theirs!.data.tags], [['x', 'y'], 2, ['y']]);
  assert.equal(later.status, 'queued');
  c.edit({ tags: ['edited'] });
  stage.run();
  assert.deepEqual(stage.state(name), ['x', 'y', 'edited', 'next', 'later']);
  assert.deepEqual([mine.status, mine.data], ['landed', { tags: ['edited'] }]);
});

test('a refusal is a conflict too; dropping it ends it and what followed', async () => {
  const { stage, stream } = begin({ fresh: true });
  const bad = stream.send('add', { tags: ['bad'], forbid: true });
  const rest = stream.send('add', { tags: ['rest'] });
  stage.run();
  assert.deepEqual([stream.conflict!.reason, bad.status, stream.state], ['policy_forbidden', 'sent', []]);
  stream.conflict!.drop();
  stage.run();
  assert.deepEqual([bad.status, rest.status, stream.pending], ['refused', 'rejected', []]);
  const o: any = await rest.outcome;
  assert.deepEqual([o.reason, o.root_reason, await rest.accepted], ['predecessor_rejected', 'policy_forbidden', false]);
  stream.send('add', { tags: ['good'] });
  stage.run();
  assert.deepEqual(stage.state(name), ['good']);
});

for (const [how, end] of Object.entries({
  'that is refused': (stream, b) => stream._answer(b.id, 'refused', { reason: 'policy_forbidden' }),
  'the server does not know it, and it is too old to be sent': (stream, b) => {
    stream._chain.at(-1)!.old = true;
    stream._asking = [b.id];
    stream._statuses(stream._asking, [{ id: b.id, status: 'unknown' } as CommandView]);
  },
} satisfies Record<string, (stream: ReturnType<typeof begin>['stream'], b: { id: string }) => void>)) {
  test(`a decision that waits for what may land by itself is carried out when ${how}`, () => {
    const { stage, stream, send } = begin({ fresh: true });
    const a = send('a');
    const b = send('b', { policy: 'session' });
    for (const act of stream._chain) stream._handed(act);
    stream._answer(a.id, 'accepted');
    stream._rejected(a.id, { reason: 'refused' });
    stage.time.pass(20);
    stream.conflict!.drop();
    assert.equal(a.result, undefined, 'the one that follows it may have landed');
    end(stream, b);
    stage.time.pass(20);
    assert.equal(a.result!.status, 'rejected');
    assert.equal(stream.conflict!.mine, b);
  });
}

test('what follows an action that got another id before a reload follows it still', () => {
  const before = begin({ fresh: true });
  before.send('first');
  before.send('a');
  before.send('b', { policy: 'session' });
  for (const act of before.stream._chain) before.stream._handed(act);
  const old = before.stream._chain[1]!.id;
  before.stream._rejected(old, { reason: 'predecessor_missing' });
  const [first, a, b] = before.stream._save();
  assert.equal(b!.ticket, old, 'it may have landed, so it is left alone');
  const { stream } = begin({ fresh: true });
  stream._restore([first!, a!, b!]);
  stream._rejected(b!.id, { reason: 'predecessor_missing' });
  assert.equal(stream.conflict, undefined, 'there is nothing to decide');
  assert.deepEqual(stream._chain.map((act) => act.ticket), ['genesis', first!.id, a!.id]);
  assert.notEqual(stream._chain[2]!.id, b!.id);
});

/** Two actions of a page, of which the first has landed; the second left before that. */
const landedLate = () => {
  const { stream, send } = begin({ fresh: true });
  send('a');
  send('b');
  const [a, b] = stream._chain;
  for (const act of [a!, b!]) stream._handed(act);
  stream._landed(a!.id, 1);
  return { saved: stream._save(), a: a!, b: b! };
};

test('what followed an action that landed late, just before a reload, follows it still', () => {
  const { saved, a, b } = landedLate();
  const { stream } = begin();
  stream._restore(saved);
  stream._rejected(b.id, { reason: 'predecessor_missing' });
  const [again] = stream._chain;
  assert.equal(again!.ticket, a.id);
  assert.notEqual(again!.id, b.id);
  assert.equal(stream.conflict, undefined, 'there is nothing to decide');
});

test('so it does after yet another reload, and behind a conflict of another tab', () => {
  const { saved, a, b } = landedLate();
  const between = begin().stream;
  between._restore(saved);
  const other = begin({ fresh: true });
  other.send('c');
  const [c] = other.stream._chain;
  other.stream._handed(c!);
  other.stream._rejected(c!.id, { reason: 'refused' });
  const [kept] = other.stream._save();
  const { stream } = begin();
  stream._restore([{ ...kept!, id: 'c', held: 'c' }, ...between._save()]);
  stream._rejected(b.id, { reason: 'predecessor_missing' });
  assert.equal(stream._chain[0]!.rej!.reason, 'refused');
  assert.equal(stream._chain[1]!.ticket, a.id);
  assert.equal(stream._chain[1]!.held, undefined, 'it is no part of that conflict');
});

test('people decide about what followed an action of somebody else that is gone, also after a reload', () => {
  const before = begin();
  before.other('x');
  before.send('a');
  const [a] = before.stream._chain;
  for (let ms = 0; ms < 100 && !a!.tries; ms++) before.stage.time.pass(1);
  assert.deepEqual([a!.ticket, a!.tries], ['bob-x', 1]);
  const { stream } = begin();
  stream._restore(before.stream._save());
  stream._rejected(a!.id, { reason: 'predecessor_missing' });
  assert.equal(stream._chain[0]!.final, 'rejected');
});

test('what was not sent before a reload and followed an action of somebody else that is gone is for people to decide', () => {
  const before = begin({ fresh: true });
  before.send('a', { policy: 'session' });
  const [a] = before.stream._save();
  a!.ticket = 'somebody else did it';
  const { stream } = begin({ fresh: true });
  stream._restore([a!]);
  for (const act of stream._chain) stream._handed(act);
  stream._rejected(a!.id, { reason: 'predecessor_missing' });
  assert.equal(stream._chain[0]!.final, 'rejected');
});

test('a refusal is not final while an earlier attempt may have arrived: its id is used up first', () => {
  const { stage, stream } = begin({ fresh: true });
  const h = stream.send('add', { tags: ['a'] });
  stage.time.settle();
  stage.posts.shift()!.answer({ status: 0 });
  stage.time.pass(3000);
  stage.posts.shift()!.answer({ status: 403, body: [{ status: 403, code: 'policy_forbidden' }] });
  assert.equal(stream.conflict, undefined);
  stage.time.pass(10_000);
  assert.deepEqual(stage.posts[0]!.body.map((c) => [c.id, c.ticket, c.data]), [[h.id, h.id, undefined]]);
  stage.run();
  assert.equal(stream.conflict!.reason, 'policy_forbidden');
});

test('after a failure the same ids go out again, not before Retry-After, and also when a timer is early', () => {
  const { stage, send } = begin({ fresh: true });
  const h = send('a');
  stage.time.settle();
  stage.posts.shift()!.answer({ status: 503, body: { code: 'unavailable' }, later: 5000 });
  stage.time.pass(4900);
  assert.equal(stage.posts.length, 0);
  stage.time.pass(1000);
  assert.equal(stage.posts[0]!.body[0].id, h.id);
});

test('on a stream or a client that was closed nothing can be sent that would never leave', () => {
  const { stage, client, stream, send } = begin({ fresh: true });
  const a = send('a');
  stream.close();
  assert.throws(() => send('b'), code('closed'));
  stage.run();
  assert.equal(a.status, 'landed', 'what was pending before goes on');
  assert.throws(() => send('b'), code('closed'));
  const again = client.stream<string[]>(name, options);
  again.send('add', { tags: ['b'] });
  stage.run();
  assert.deepEqual(stage.state(name), ['a', 'b']);
  client.close();
  assert.throws(() => again.send('add', { tags: ['c'] }), code('closed'));
});

test('of a type that the server does not know nothing hangs: it is refused, as a conflict', async () => {
  const { stage, client, stream, send } = begin();
  const told: string[] = [];
  stream._know({ onConflict: (c) => told.push(c.reason) });
  const a = send('a');
  client.event('refused', { stream: name, code: 'unknown_type' });
  stage.time.settle();
  assert.deepEqual(stage.posts[0]!.body.map((c) => [c.id, c.ticket]), [[a.id, 'genesis']]);
  stage.posts.shift()!.answer({ status: 404, body: [{ status: 404, code: 'unknown_type' }] });
  stage.time.pass(20);
  assert.deepEqual(told, ['unknown_type']);
  stream.conflict!.drop();
  assert.equal((await a.outcome).status, 'refused');
});

test('what turns out to be larger than the server takes is refused by it, and stops nothing', () => {
  const { stage, client, stream } = begin({ fresh: true });
  stream.send('add', { tags: ['x'.repeat(2000)] });
  client.limits.max_body = 1000;
  stage.time.settle();
  assert.equal(stage.posts.length, 1);
  stage.posts.shift()!.answer({ status: 413, body: { code: 'too_large' } });
  stage.time.pass(1000);
  const c = stream.conflict!;
  assert.equal(c.reason, 'too_large');
  assert.throws(() => c.edit({ tags: ['y'.repeat(2000)] }), code('too_large'));
  assert.equal(c.decided, false);
  c.edit({ tags: ['y'] });
  stage.run();
  assert.deepEqual(stage.state(name), ['y']);
});

test('one that spoils a whole array is found by sending each alone', () => {
  const { stage, stream, send } = begin({ fresh: true });
  send('a');
  send('b');
  stage.time.settle();
  stage.posts.shift()!.answer({ status: 400, body: { code: 'malformed' } });
  assert.deepEqual(leaves(stage), [['a'], ['b']]);
  stage.run();
  assert.deepEqual(stream.confirmed, ['a', 'b']);
});

test('subscribers are called once a frame; what they throw stops nothing', () => {
  const { stage, stream, send } = begin({ fresh: true });
  let calls = 0;
  const end = stream.subscribe(() => calls++);
  for (let i = 0; i < 10; i++) send(`${i}`);
  assert.equal(calls, 0);
  stage.time.pass(17);
  assert.equal(calls, 1);
  end();
  send('x');
  stage.time.pass(100);
  assert.equal(calls, 1);
});

test('a strict action waits until what is before it has landed', () => {
  const { stage, send } = begin({ fresh: true });
  send('a');
  send('b', { policy: 'strict' });
  stage.time.settle();
  assert.deepEqual(leaves(stage), [['a']]);
  stage.run();
  assert.deepEqual(stage.state(name), ['a', 'b']);
});

test('what became of an action can be asked for before and after', async () => {
  const { stage, stream, send } = begin({ fresh: true });
  const [early, late] = [send('a'), send('b')];
  const asked = [early.accepted, early.outcome];
  let calls = 0;
  const { subscribe } = early;
  assert.equal(subscribe, early.subscribe, 'React subscribes anew to what is another one each time');
  subscribe(() => calls++);
  stage.run();
  for (const h of [early, late]) assert.deepEqual([await h.accepted, (await h.outcome).status, (await h.outcome).id], [true, 'landed', h.id]);
  assert.deepEqual(await Promise.all(asked), [true, early.result]);
  assert.equal(early.outcome, asked[1]);
  assert.ok(calls > 1);
  const bad = stream.send('add', { tags: ['bad'], forbid: true });
  stage.run();
  stream.conflict!.drop();
  assert.deepEqual([await bad.accepted, (await bad.outcome).status], [false, 'refused']);
});

test('a text is as long as its UTF-8', () => {
  for (const text of ['', 'plain', 'Grüße', '\u{1F600}', '\x7f\x80']) assert.equal(bytes(text), Buffer.byteLength(text), text);
});

test('ids are UUIDv7, in order also within a millisecond', () => {
  const random = (n: number) => crypto.getRandomValues(new Uint8Array(n));
  const ids = Array.from({ length: 10_000 }, () => uuid(1_700_000_000_000, random));
  for (const id of ids) assert.match(id, /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  assert.deepEqual(ids, [...new Set(ids)].sort());
  assert.equal(parseInt(ids[0]!.replace('-', '').slice(0, 12), 16), 1_700_000_000_000);
});

test("the browser's ids are different ones, however many are made at once", () => {
  const ids = Array.from({ length: 10_000 }, () => clock.id());
  assert.deepEqual(ids, [...new Set(ids)].sort());
  assert.equal(new Set(ids.map((id) => id.slice(19))).size, ids.length, 'they differ in what is random, too');
});
