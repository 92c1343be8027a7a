// The races of the articles that this package comes from, each played with a client that is written the obvious way,
// which loses, and with ours. The server is the same.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { documents, Stage } from '../sim/wire.ts';

const name = 'person/1';
const predict = { create: (_: any, d: any) => d, update: (s: any, d: any) => ({ ...s, ...d }), delete: () => null };

/** What a page does with one person, whatever the client. */
interface Person {
  create(data: any): void;
  update(data: any): void;
  remove(): void;
  /** What the page shows. */
  shown(): any;
}

/** The article's client: the server makes the id, and until it is known nothing else can be sent. */
class Obvious implements Person {
  private known = false;
  private state: any = null;
  private n = 0;
  constructor(private stage: Stage) {}
  private send(type: string, data: any, done = () => {}): void {
    const id = `obvious-${++this.n}`;
    // Without tickets: the last one wins.
    this.stage.post(JSON.stringify([{ id, stream: name, type, policy: 'any', ticket: 'genesis', session: '', data }]), done);
  }
  create(data: any): void {
    this.state = data;
    this.send('create', data, () => (this.known = true));
  }
  update(data: any): void {
    this.state = { ...this.state, ...data };
    if (this.known) this.send('update', data);
  }
  remove(): void {
    if (this.known) this.send('delete', {});
  }
  shown(): any {
    return this.state;
  }
}

class Ours implements Person {
  readonly stream;
  constructor(stage: Stage, fresh = true) {
    this.stream = stage.client('ann').stream(name, { fresh, predict });
  }
  create(data: any): void {
    this.stream.send('create', data);
  }
  update(data: any): void {
    this.stream.send('update', data);
  }
  remove(): void {
    this.stream.send('delete', {});
  }
  shown(): any {
    return this.stream.state;
  }
}

/** Plays a race with both: what is wrong with the obvious client is not with ours. */
function race(title: string, play: (stage: Stage, make: (stage: Stage) => Person) => void): void {
  test(`${title}: the obvious client loses`, () => {
    assert.throws(() => play(new Stage(documents), (s) => new Obvious(s)), assert.AssertionError);
  });
  test(`${title}: ours does not`, () => play(new Stage(documents), (s) => new Ours(s)));
}

race('create then update', (stage, make) => {
  const person = make(stage);
  person.create({});
  person.update({ name: 'Edgar Dijkstra' });
  stage.run();
  assert.deepEqual(stage.state(name), { name: 'Edgar Dijkstra' });
});

race('create then delete', (stage, make) => {
  const person = make(stage);
  person.create({});
  person.remove();
  stage.run();
  assert.equal(stage.state(name), null);
  assert.equal(stage.server.log.filter((o) => o.status == 'landed').length, 2);
});

race('overlapping updates that arrive in the other order', (stage, make) => {
  const person = make(stage);
  person.create({});
  stage.run();
  person.update({ name: 'Edgar Djikstra' });
  stage.time.settle();
  person.update({ name: 'Edgar Dijkstra' });
  stage.time.settle();
  const [first, second] = stage.posts.splice(0);
  second!.arrive();
  second!.answer();
  first!.arrive();
  first!.answer();
  stage.run();
  assert.equal(stage.state(name).name, 'Edgar Dijkstra');
  assert.equal(person.shown().name, 'Edgar Dijkstra');
});

race('a POST whose answer is lost, sent again', (stage, make) => {
  const person = make(stage);
  person.create({ n: 1 });
  stage.time.settle();
  const post = stage.posts.shift()!;
  post.arrive();
  post.answer({ status: 0 });
  if (person instanceof Obvious) person.create({ n: 1 }); // What else can it do?
  stage.run(40_000);
  assert.deepEqual(stage.server.log.map((o) => o.status), ['landed']);
});

race('the next action does not wait for an answer', (stage, make) => {
  const person = make(stage);
  person.create({});
  stage.time.settle();
  person.update({ a: 1 });
  stage.time.settle();
  assert.equal(stage.posts.flatMap((p) => p.body).length, 2);
});

/** A client with tickets that takes them from the state it received last. */
class LastState {
  ticket = 'genesis';
  state: any = null;
  private n = 0;
  constructor(private stage: Stage) {
    stage.transport().listen({ streams: [`${name}@new`], sessions: ['last'], deliver: 'state' }, false, {
      open() {}, mark() {}, end() {},
      event: (event, data) => {
        if (event == 'state') {
          this.ticket = data.ticket;
          this.state = data.state;
        }
      },
    });
    stage.time.pass(10);
  }
  send(type: string, data: any): void {
    const c = { id: `last-${++this.n}`, stream: name, type, policy: 'ticket', ticket: this.ticket, session: 'last', data };
    this.stage.post(JSON.stringify([c]), () => {});
  }
}

const rejections = (stage: Stage) => stage.server.log.filter((o) => o.status == 'rejected').map((o) => o.reason);

/** Two actions in a row; the state that the first one made arrives in between, or after. */
function twoInARow(stage: Stage, send: (data: any) => void): void {
  send({ a: 1 });
  stage.time.settle();
  send({ b: 2 });
  stage.run();
  send({ c: 3 });
  send({ d: 4 });
  stage.run();
  assert.deepEqual(rejections(stage), []);
  assert.deepEqual(stage.state(name), { a: 1, b: 2, c: 3, d: 4 });
}

const anything = { ...documents, decide: (_: any, __: string, data: any) => [{ type: 'set', data }] };

test("two actions on one state: a client that takes the last state's ticket conflicts with itself", () => {
  const stage = new Stage(anything);
  const naive = new LastState(stage);
  assert.throws(() => twoInARow(stage, (d) => naive.send('set', d)), assert.AssertionError);
});

test('two actions on one state: ours chains them on its own tail', () => {
  const stage = new Stage(anything);
  const s = stage.client('ann').stream(name);
  stage.run();
  twoInARow(stage, (d) => void s.send('set', d));
});

test('a state of an own action does not move the ticket back behind later ones', () => {
  const stage = new Stage(anything);
  const s = stage.client('ann').stream(name);
  stage.run();
  for (let i = 1; i < 4; i++) {
    s.send('set', { i });
    stage.time.pass(5);
    const post = stage.posts.shift()!;
    if (i == 1) {
      post.arrive();
      stage.time.pass(1000); // The state with the first one is here, two more are on their way.
    } else stage.posts.push(post);
  }
  s.send('set', { last: true });
  stage.run();
  assert.deepEqual(rejections(stage), []);
  assert.deepEqual(s.confirmed, { i: 3, last: true });
});

/** Bob changes something that Ann has not been shown yet; then she acts. */
function unseen(stage: Stage, ann: () => void): void {
  stage.held = true;
  stage.server.post(JSON.stringify([{ id: 'bob-1', stream: name, type: 'set', policy: 'any', session: '', actor: 'bob', ticket: 'genesis', data: { owner: 'bob' } }]), 0);
  stage.time.pass(500);
  ann();
  stage.run();
  assert.equal(stage.state(name).owner, 'bob');
}

test('an action on a state that is not the last any more: without tickets it overwrites what was never seen', () => {
  const stage = new Stage(anything);
  const person = new Obvious(stage);
  person.create({});
  stage.run();
  assert.throws(() => unseen(stage, () => person.update({ owner: 'ann' })), assert.AssertionError);
});

test('an action on a state that is not the last any more: ours is told who did what, and asks', () => {
  const stage = new Stage(anything);
  const s = stage.client('ann').stream<any>(name, { predict: { set: (state, d) => ({ ...state, ...d }) } });
  stage.run();
  let handle: any;
  unseen(stage, () => (handle = s.send('set', { owner: 'ann' })));
  assert.equal(s.state.owner, 'ann', 'nothing else was heard yet');
  stage.release();
  stage.run();
  const c = s.conflict!;
  assert.equal(c.reason, 'stale_ticket');
  assert.equal(c.mine, handle);
  assert.equal(c.theirs!.command.actor, 'bob');
  assert.deepEqual([s.state, c.state], [{ owner: 'bob' }, { owner: 'bob' }]);
  assert.equal(handle.status, 'sent', 'it has not ended');
  c.retry();
  stage.run();
  assert.equal(stage.state(name).owner, 'ann');
  assert.equal(handle.status, 'landed');
});

test('states that arrive in the other order: the obvious client shows the older one', () => {
  let shown = { version: 0 };
  const show = (s: { version: number }) => (shown = s);
  show({ version: 2 });
  show({ version: 1 });
  assert.notEqual(shown.version, 2);
});

test('states that arrive in the other order: ours keeps the newer one, until a reset', () => {
  const stage = new Stage(anything);
  const client = stage.client('ann');
  const s = client.stream<any>(name);
  stage.run();
  const state = (version: number, n: number) => ({ stream: name, version, ticket: `t-${version}`, state: { version }, position: `e1-${n}` });
  client.event('state', state(2, 5));
  client.event('state', state(1, 4));
  stage.time.pass(100);
  assert.deepEqual(s.confirmed, { version: 2 });
  client.event('reset', { reason: 'epoch' });
  client.event('state', state(1, 1));
  stage.time.pass(100);
  assert.deepEqual(s.confirmed, { version: 1 });
});
