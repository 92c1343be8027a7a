/** What to try, ticked off as it happens, and a hand that does the first steps. */
import { useEffect, useState } from 'preact/hooks';
import { html } from './html.ts';
import type { Desk, Person } from './people.ts';

const steps: { name: string; text: string; more: string }[] = [
  { name: 'cut', text: 'Cut Ann’s network and click + three times.', more: 'Nothing blocks: her clicks show at once, and queue.' },
  { name: 'ben', text: 'Let Ben change the order.', more: 'His network works, so his click lands.' },
  { name: 'back', text: 'Reconnect Ann.', more: 'Her three clicks follow an action that is no longer the last. She is told once, with what Ben did.' },
  { name: 'decide', text: 'Decide in Ann’s box.', more: 'Try again, edit, or give up: one answer for all three.' },
  { name: 'park', text: 'Shuffle Ben’s network and click + quickly.', more: 'What comes too early is parked, and lands in the order he clicked.' },
  { name: 'power', text: 'Slow Ann down, click +, and give the order to Ben as Mia.', more: 'Mia needs no ticket; Ann’s becomes stale on its way.' },
];

/** Watches what is done. */
class Progress {
  done = new Set<string>();
  #beforeMia = false;
  #asked = false;

  constructor(private desk: Desk) {
    desk.watch((a) => {
      const ann = desk.person('Ann');
      if (a.status == 'landed' && a.who == 'Ben' && ann.wire.mischief.cut && this.done.has('cut')) this.#do('ben');
      if (a.status == 'parked' && a.who == 'Ben') this.#do('park');
      if (a.status == 'landed' && a.policy == 'any' && ann.stream.pending.length) this.#beforeMia = true;
      if (a.status == 'rejected' && a.who == 'Ann' && this.#beforeMia) this.#do('power');
    });
  }

  #do(step: string): void {
    if (this.done.has(step)) return;
    this.done.add(step);
    this.desk.changed();
  }

  look(): void {
    const { wire, stream, conflict } = this.desk.person('Ann');
    if (wire.mischief.cut && stream.pending.length >= 3) this.#do('cut');
    if (conflict && this.done.has('ben')) {
      this.#do('back');
      this.#asked = true;
    }
    if (this.#asked && !conflict) this.#do('decide');
  }
}

/** Waits until something is so, or for five seconds. */
const until = (is: () => boolean): Promise<void> =>
  new Promise((done) => {
    const end = performance.now() + 5000;
    const look = () => (is() || performance.now() > end ? done() : void setTimeout(look, 50));
    look();
  });

const pause = (ms: number): Promise<void> => new Promise((done) => setTimeout(done, ms));

/** Clicks + on a line as somebody does. */
function more(p: Person, at = 0): void {
  const { lines } = p.stream.state;
  const line = lines[at] ?? lines[0];
  if (line) p.send('change_line', { sku: line.sku, qty: line.qty + 1 });
}

/** The first three steps by themselves, with the same means as a visitor has. */
async function show(desk: Desk): Promise<void> {
  const ann = desk.person('Ann');
  const ben = desk.person('Ben');
  await until(() => ann.stream.known && ann.stream.state.lines.length > 1);
  ann.wire.set('cut', true);
  for (let i = 0; i < 3; i++) {
    await pause(600);
    more(ann);
  }
  await pause(1000);
  const before = ben.stream.version;
  more(ben, 1);
  await until(() => ben.stream.version > before);
  await pause(1200);
  ann.wire.set('cut', false);
}

export function Tour({ desk }: { desk: Desk }) {
  const [progress] = useState(() => new Progress(desk));
  const [busy, setBusy] = useState(false);
  useEffect(() => progress.look());
  const { state } = desk.person('Ann').stream;
  const next = steps.find((s) => !progress.done.has(s.name));
  const run = () => {
    if (busy) return;
    setBusy(true);
    void show(desk).finally(() => setBusy(false));
  };
  return html`<section class="tour" aria-labelledby="tour">
    <h2 id="tour">Try this</h2>
    <ol>${steps.map((s) => {
      const done = progress.done.has(s.name);
      return html`<li key=${s.name} class=${`${done ? 'done' : ''} ${s == next ? 'next' : ''}`} data-step=${s.name} data-done=${done}>
        <b>${s.text}</b> <span>${s.more}</span>${done && html`<span class="unseen"> Done.</span>`}</li>`;
    })}</ol>
    <button class="show" disabled=${state.status != 'draft'} aria-disabled=${busy} onClick=${run}>${busy ? 'Watch…' : 'Show me the first three'}</button>
  </section>`;
}
