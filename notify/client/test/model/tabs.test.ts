// Tabs that share one connection, at random: they open, send, close, crash and freeze, and pages, messages and pushes
// are slow. DOORMAN_MODEL_RUNS says how often (50 of it), and a failure prints the seed for DOORMAN_TABS_SEED.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Tab } from '../sim/browser.ts';
import { Browser } from '../sim/browser.ts';
import { chance } from '../sim/time.ts';

const runs = Math.ceil(+(process.env.DOORMAN_MODEL_RUNS ?? 2000) / 40);
const names = ['journal/0', 'journal/1', 'journal/2'];

async function play(seed: number): Promise<void> {
  const b = new Browser();
  const luck = chance(seed);
  const [way, pushes] = [150 * luck() ** 2, 150 * luck() ** 2];
  b.origin.slow = () => 1 + luck() * way;
  b.slow = () => luck() * pushes;
  let living: Tab[] = [];
  const sent: { tab: Tab; name: string; handle: { status: string } }[] = [];
  const pick = <T>(of: T[]): T => of[Math.floor(luck() * of.length)]!;
  const open = () => {
    const tab = b.open((c) => void tab.page.after(50, () => c.retry()));
    for (const name of names) if (luck() < 0.7) tab.client.stream(name);
    living.push(tab);
  };
  open();
  for (let n = 10 + luck() * 40; n > 0; n--) {
    const what = luck();
    const tab = pick(living);
    if (!tab || (what < 0.15 && b.tabs.length < 8)) open();
    else if (what < 0.25) {
      if (what < 0.2 && !tab.page.frozen) tab.client.close();
      tab.page.crash();
      living = living.filter((t) => t != tab);
    } else if (what < 0.32 && !tab.page.frozen) {
      tab.page.freeze();
      b.time.after(40_000 * luck() ** 2, () => tab.page.thaw());
    } else if (what < 0.37) for (const c of [...b.server.conns]) c.end();
    else if (!tab.page.frozen) {
      const name = pick(names);
      sent.push({ tab, name, handle: tab.client.stream(name).send('add', { tags: [`${sent.length}`] }) });
    }
    await b.pass(luck() < 0.5 ? luck() * 50 : luck() * 4000);
  }
  await b.pass(90_000);
  for (const tab of living) {
    for (const s of sent) if (s.tab == tab) assert.equal(s.handle.status, 'landed');
    for (const name of Object.keys(tab.client.want().streams)) assert.deepEqual(tab.client.stream(name).confirmed, b.state(name) ?? null, name);
  }
}

test(`whatever becomes of the others, each tab is told all that it watches and what became of its own (${runs} runs)`, async () => {
  const first = +(process.env.DOORMAN_TABS_SEED ?? Math.floor(Math.random() * 1e9));
  for (let seed = first; seed < first + runs; seed++) await play(seed).catch((e) => assert.fail(`DOORMAN_TABS_SEED=${seed}: ${e}`));
});
