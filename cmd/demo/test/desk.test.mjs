// The order desk in a real browser, on a real server. desk_test.go runs it.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { after, afterEach, before, test } from 'node:test';
import { address, launch, visit } from './browser.mjs';

let browser;
let visitors = [];
before(async () => void (browser = await launch()));
after(() => browser.close());
afterEach(async () => {
  const errors = visitors.flatMap((v) => v.errors);
  for (const c of new Set(visitors.map((v) => v.context))) await c.close();
  visitors = [];
  assert.deepEqual(errors, [], 'nothing is wrong on the console');
});

async function enter(options) {
  const v = await visit(browser, options);
  visitors.push(v);
  return v;
}

const begun = ['Ann line_added PENCIL 2', 'Ben line_added PAPER 1'];

test('clicks that arrive in any order, and twice, land once and in the order of the clicks', async () => {
  const here = await enter();
  const there = await enter({ order: here.order });
  await here.switch('Ben', 'shuffle');
  await here.switch('Ben', 'double');
  await here.burst(Array(4).fill('[data-person=Ben] [aria-label="Pencils: one more"]'));
  await here.sees('Ben', 'Pencils', 6); // at once, whatever the network does
  await here.actions('landed', 6);
  await there.sees('Ann', 'Pencils', 6);
  await there.actions('landed', 6);
  assert.deepEqual(await here.changes(), [...begun, ...[3, 4, 5, 6].map((n) => `Ben line_changed PENCIL ${n}`)]);
  assert.equal(await here.page.locator('[data-step=park][data-done=true]').count(), 1, 'something had to be parked');
});

test('who was cut off is told once, with what others did, and tries again', async () => {
  const here = await enter();
  const there = await enter({ order: here.order });
  await here.switch('Ann', 'cut');
  await here.more('Ann', 'Pencils', 3);
  await here.sees('Ann', 'Pencils', 5);
  await here.actions('queued', 3);
  await there.more('Ben', 'Paper');
  await here.sees('Ben', 'Paper', 2);
  await here.switch('Ann', 'cut');
  const dialog = here.dialog('Ann');
  await dialog.waitFor();
  assert.match(await dialog.innerText(), /Mine\s+Set Pencils to 3\s+Theirs\s+Ben set Paper to 2/);
  assert.match(await dialog.innerText(), /2 clicks after it go along/);
  await dialog.getByText('Try again').click();
  await there.sees('Mia', 'Pencils', 5);
  await here.confirmed('Ann');
  assert.equal(await dialog.count(), 0);
  assert.deepEqual((await here.changes()).slice(2), ['Ben line_changed PAPER 2', ...[3, 4, 5].map((n) => `Ann line_changed PENCIL ${n}`)]);
});

test('a conflict is decided by the keyboard: another number, or giving up', async () => {
  const here = await enter();
  const clash = async () => {
    await here.switch('Ann', 'cut');
    await here.more('Ann', 'Pencils');
    await here.more('Ben', 'Paper');
    await here.confirmed('Ben');
    await here.switch('Ann', 'cut');
    await here.dialog('Ann').waitFor();
  };
  await clash();
  await here.dialog('Ann').getByText('Edit').focus();
  await here.page.keyboard.press('Enter');
  await here.page.keyboard.type('40');
  await here.page.keyboard.press('Enter');
  await here.sees('Mia', 'Pencils', 40);
  assert.equal(await here.page.evaluate(() => document.activeElement.dataset.person), 'Ann', 'the focus stays at her desk');
  await here.confirmed('Ann');
  await clash();
  await here.dialog('Ann').getByText('Give up').focus();
  await here.page.keyboard.press('Space');
  await here.sees('Ann', 'Pencils', 40);
  await here.confirmed('Ann');
  assert.equal((await here.changes()).filter((c) => c == 'Ann line_changed PENCIL 41').length, 0);
});

test('whoever goes by keyboard stays at the desk, whatever vanishes or is switched off under their hands', async () => {
  const here = await enter();
  const ann = here.card('Ann');
  const where = () => here.page.evaluate(() => {
    const e = document.activeElement;
    return e.matches('.card') ? e.dataset.person : e.getAttribute('aria-label') ?? e.textContent.trim();
  });
  const press = async (button, key = 'Enter') => {
    await button.focus();
    await here.page.keyboard.press(key);
  };
  await press(ann.getByRole('button', { name: 'Add Desk lamp' }));
  await ann.getByLabel('Take Desk lamp off').waitFor();
  assert.equal(await where(), 'Ann');
  await press(ann.getByLabel('Take Desk lamp off'));
  await ann.getByRole('button', { name: 'Add Desk lamp' }).waitFor();
  assert.equal(await where(), 'Ann');
  await press(ann.getByLabel('Pencils: one less'));
  await here.sees('Ann', 'Pencils', 1);
  await here.page.keyboard.press('Enter');
  assert.equal(await where(), 'Pencils: one less', 'a second time it does nothing, and keeps the focus');
  await here.switch('Ann', 'cut');
  await here.more('Ann', 'Pencils');
  await here.more('Ben', 'Paper');
  await here.confirmed('Ben');
  await here.switch('Ann', 'cut');
  await here.dialog('Ann').waitFor();
  await press(here.dialog('Ann').getByText('Edit'));
  await here.page.keyboard.press('Escape');
  assert.equal(await where(), 'Edit');
  await press(here.dialog('Ann').getByText('Try again'));
  await here.confirmed('Ann');
  await press(ann.getByText('Submit'));
  await here.page.locator('.card[data-person=Ann] .submit:disabled').waitFor();
  assert.equal(await where(), 'Ann');
  assert.equal((await here.changes()).filter((c) => c.startsWith('Ann line_changed PENCIL 0')).length, 0);
});

test('the manager needs no ticket, and makes a clerk’s stale; what nobody may is refused', async () => {
  const here = await enter({ noise: /403/ });
  await here.switch('Ann', 'slow');
  await here.burst(['[data-person=Ann] [aria-label="Pencils: one more"]', '[data-person=Mia] .powers fieldset button:nth-of-type(2)']);
  await here.dialog('Ann').waitFor();
  assert.match(await here.dialog('Ann').innerText(), /Mia made Ben the owner/);
  assert.equal(await here.page.locator('[data-step=power][data-done=true]').count(), 1);
  await here.dialog('Ann').getByText('Try again').click();
  await here.sees('Mia', 'Pencils', 3);
  await here.card('Mia').getByText('Approve unseen').click();
  await here.actions('refused', 1);
  await here.dialog('Mia').getByText('Give up').click();
  await here.confirmed('Mia');
});

test('an order that says no says why', async () => {
  const here = await enter();
  await here.card('Ann').getByLabel('Take Pencils off').click();
  await here.card('Ann').getByLabel('Take Paper off').click();
  await here.card('Ann').getByText('Submit').click();
  await here.dialog('Ann').waitFor();
  assert.match(await here.dialog('Ann').innerText(), /The order says no[^]*an order without lines cannot be submitted/);
  await here.dialog('Ann').getByText('Give up').click();
  await here.card('Ann').getByText('Desk lamp').click();
  await here.card('Ann').getByText('Submit').click();
  await here.card('Mia').getByRole('button', { name: 'Approve', exact: true }).click();
  await here.card('Ben').locator('.state.approved').waitFor();
  await here.confirmed('Mia');
  assert.deepEqual((await here.changes()).slice(4), ['Ann line_added LAMP 1', 'Ann submitted', 'Mia approved']);
});

test('a new order begins anew, and the old one is still there', async () => {
  const here = await enter();
  const first = here.order;
  await here.more('Ann', 'Pencils');
  await here.actions('landed', 3);
  await here.page.getByText('New order').click();
  await here.settled();
  assert.notEqual(here.order, first);
  assert.deepEqual(await here.changes(), begun);
  await here.page.getByText('Other orders').click();
  await here.page.getByRole('link', { name: first }).click();
  await here.sees('Mia', 'Pencils', 3);
  await here.actions('landed', 3);
});

test('eight tabs of one browser have one connection, and nothing waits for another', async () => {
  const first = await enter();
  const tabs = [first];
  while (tabs.length < 8) tabs.push(await enter({ beside: first }));
  for (const [i, t] of tabs.entries()) {
    await t.more(i % 2 ? 'Ann' : 'Ben', 'Pencils');
    for (const o of tabs) await o.sees('Mia', 'Pencils', 3 + i);
  }
  await first.page.close();
  await tabs[7].more('Ann', 'Paper');
  for (const o of tabs.slice(1)) await o.sees('Mia', 'Paper', 2);
  for (const o of tabs.slice(1)) await o.actions('landed', 11);
  assert.equal((await tabs[1].changes()).length, 11);
});

test('without any network everything goes on, and lands when it is back', async () => {
  const here = await enter({ noise: /ERR_INTERNET_DISCONNECTED|ERR_NETWORK_CHANGED/ });
  await here.context.setOffline(true);
  await here.more('Ann', 'Pencils', 2);
  await here.sees('Ann', 'Pencils', 4);
  await here.context.setOffline(false);
  await here.sees('Ben', 'Pencils', 4);
  await here.confirmed('Ann');
  assert.deepEqual((await here.changes()).slice(2), [3, 4].map((n) => `Ann line_changed PENCIL ${n}`));
});

test('what was not sent survives a reload', async () => {
  const here = await enter();
  await here.switch('Ann', 'cut');
  await here.more('Ann', 'Pencils', 2);
  await here.page.waitForFunction(async () => {
    const db = await new Promise((yes) => (indexedDB.open('desk-ann').onsuccess = (e) => yes(e.target.result)));
    const rows = await new Promise((yes) => (db.transaction('chains').objectStore('chains').getAll().onsuccess = (e) => yes(e.target.result)));
    db.close();
    return rows.flatMap((r) => r.chain).length == 2;
  });
  await here.page.reload();
  await here.sees('Mia', 'Pencils', 4);
  await here.confirmed('Ann');
  assert.deepEqual((await here.changes()).slice(2), [3, 4].map((n) => `Ann line_changed PENCIL ${n}`));
});

test('whatever is clicked and whatever becomes of the network, in the end all see the same', async () => {
  const seed = Number(process.env.DESK_SEED) || Math.floor(Math.random() * 2 ** 31);
  const here = await enter({ noise: /403/ });
  const there = await enter({ order: here.order, noise: /403/ });
  const all = [here, there, await enter({ beside: here, noise: /403/ })];
  await Promise.all(all.map((v, i) => v.monkey(seed + i, 8000)));
  const failed = (e) => assert.fail(`DESK_SEED=${seed}: ${e}`);
  await Promise.all(all.map((v) => v.surrender())).catch(failed);
  const { state } = await (await fetch(`${address}/v1/streams/order/${here.order}`)).json();
  const names = { PENCIL: 'Pencils', PAPER: 'Paper', LAMP: 'Desk lamp', CHAIR: 'Chair' };
  const lines = state.lines.map((l) => `${names[l.sku]} ${l.qty}`);
  await Promise.all(all.map((v) => v.agree(lines))).catch(failed);
});

test('digits that are typed are taken as they come', async () => {
  const here = await enter();
  const field = here.card('Ben').getByLabel('Paper: pieces');
  await field.fill('');
  await field.pressSequentially('125');
  await here.sees('Ann', 'Paper', 125);
  await here.confirmed('Ben');
});

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

for (const [colorScheme, width] of [['light', 1440], ['dark', 390]]) {
  test(`a page for everybody: ${colorScheme}, ${width} wide`, async () => {
    const here = await enter({ noise: /403/, colorScheme, viewport: { width, height: 900 } });
    await here.page.getByText('Show me the first three').click();
    await here.dialog('Ann').waitFor();
    await here.card('Mia').getByText('Approve unseen').click();
    await here.actions('refused', 1);
    await here.page.evaluate(axe);
    const { violations } = await here.page.evaluate(() => globalThis.axe.run());
    assert.deepEqual(violations.map((v) => [v.id, ...v.nodes.map((n) => `${n.html} ${n.failureSummary}`)]), []);
    assert.ok(await here.page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), 'nothing sticks out');
  });
}

test('on a phone the timeline stays in sight, where it leaves room for the rest', async () => {
  const here = await enter({ viewport: { width: 390, height: 844 } });
  const top = async () => {
    await here.card('Mia').scrollIntoViewIfNeeded();
    await here.page.evaluate(() => scrollTo(0, document.body.scrollHeight));
    return here.page.evaluate(() => document.querySelector('.timeline').getBoundingClientRect().top);
  };
  assert.equal(await top(), 0);
  // Going back by keyboard, nothing is behind it.
  for (let i = 0; i < 24; i++) {
    await here.page.keyboard.press('Shift+Tab');
    const seen = await here.page.evaluate(() => {
      const e = document.activeElement;
      const line = document.querySelector('.timeline');
      return !e.closest('.card') || e.getBoundingClientRect().top >= line.getBoundingClientRect().bottom;
    });
    assert.ok(seen, 'what has the focus can be seen');
  }
  await here.page.setViewportSize({ width: 844, height: 390 });
  assert.ok((await top()) < -200, 'turned over there is no room for it');
});
