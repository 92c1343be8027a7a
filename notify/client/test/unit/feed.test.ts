// One connection that is opened again and again (feed.ts).
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { feeds, jitter } from '../../src/feed.ts';
import type { Ask, Listener, Watcher } from '../../src/types.ts';
import { Time } from '../sim/time.ts';

function begin() {
  const time = new Time();
  const clock = time.clock(() => 0.5, 'x');
  const opened: { ask: Ask; poll: boolean; on: Listener; stopped: boolean }[] = [];
  const want = { streams: { 'a/1': undefined } as Record<string, number | undefined>, sessions: ['s'] };
  const seen: any[] = [];
  const watcher: Watcher = { want: () => want, event: (n) => seen.push(n), live: (yes) => seen.push(yes) };
  const transport: any = {
    listen(ask: Ask, poll: boolean, on: Listener) {
      const o = { ask, poll, on, stopped: false };
      opened.push(o);
      return () => (o.stopped = true);
    },
  };
  const feed = feeds(transport, clock)(watcher);
  feed.update();
  return { time, opened, want, seen, feed };
}

test('it goes on from its mark with the versions that are known; without a mark everything is taken anew', () => {
  const { time, opened, want, seen, feed } = begin();
  assert.deepEqual([opened[0]!.ask, seen], [{ streams: ['a/1@new'], sessions: ['s'], after: undefined, deliver: 'state' }, ['reset']]);
  opened[0]!.on.end();
  time.pass(1000);
  assert.deepEqual(seen, ['reset', false, 'reset'], 'there was no mark yet');
  opened[1]!.on.mark('e-7');
  want.streams = { 'a/1': 3, 'b/1': undefined };
  feed.update();
  assert.deepEqual([opened[1]!.stopped, opened[2]!.ask.streams, opened[2]!.ask.after], [true, ['a/1@3', 'b/1@new'], 'e-7']);
  feed.update();
  assert.equal(opened.length, 3, 'nothing else is wanted');
});

test('when a proxy holds back what is pushed it polls, and tries again after five minutes', () => {
  const { time, opened } = begin();
  opened[0]!.on.end({ quiet: true });
  time.pass(1);
  assert.equal(opened[1]!.poll, true);
  time.pass(301_000);
  opened[1]!.on.end();
  time.pass(1000);
  assert.equal(opened[2]!.poll, false);
});

test('it stays away longer with each failure, as long as it is told to, and comes at once when the network is back', () => {
  const { time, opened, feed } = begin();
  opened[0]!.on.end({ later: 9000 });
  time.pass(9000);
  assert.equal(opened.length, 1);
  feed.wake();
  assert.equal(opened.length, 2);
  feed.close();
  opened[1]!.on.end();
  time.pass(60_000);
  assert.equal(opened.length, 2);
  const clock = time.clock(() => 1, 'x');
  assert.deepEqual([0, 1, 2, 9, 5000].map((n) => jitter(clock, n)), [500, 1000, 2000, 30_000, 30_000]);
});
