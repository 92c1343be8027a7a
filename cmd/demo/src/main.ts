/** The order desk: a page on which two clerks and their manager work on one order. */
import { render } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { Card } from './card.ts';
import { html } from './html.ts';
import { label } from './order.ts';
import { Desk } from './people.ts';
import { outcome, Timeline } from './timeline.ts';
import { Tour } from './tour.ts';

/** The order that the address names, if it names one. */
const named = (): string | undefined => /^#([A-Za-z0-9][A-Za-z0-9._-]{0,40})$/.exec(location.hash)?.[1];

const fresh = (): string => 'desk-' + Array.from(crypto.getRandomValues(new Uint8Array(5)), (n) => (n % 32).toString(32)).join('');

const desk = new Desk(`order/${named() ?? fresh()}`);

/** A new order begins with a line by each clerk, so that there is something to click on. */
function begin(): void {
  const stream = desk.name;
  const [ann, ben] = desk.people;
  const seed = () => {
    if (desk.name != stream || !ann!.stream.known || !ben!.stream.known) return;
    stops.forEach((stop) => stop());
    if (ann!.stream.version || ann!.stream.pending.length) return;
    ann!.send('add_line', { sku: 'PENCIL', qty: 2, price_cents: 120 });
    const stop = ben!.stream.subscribe(() => {
      if (!ben!.stream.version) return;
      stop();
      if (desk.name == stream) ben!.send('add_line', { sku: 'PAPER', qty: 1, price_cents: 690 });
    });
  };
  const stops = [ann!.stream.subscribe(seed), ben!.stream.subscribe(seed)];
}

function go(id: string): void {
  if (location.hash != '#' + id) history.replaceState(null, '', '#' + id);
  const known = desk.name == `order/${id}`;
  desk.go(`order/${id}`);
  if (!known) begin();
}

addEventListener('hashchange', () => named() && go(named()!));

function Others() {
  const [items, setItems] = useState<{ stream: string; version: number }[]>();
  const look = (e: any) => {
    if (!e.target.open) return;
    fetch('/v1/streams?type=order&limit=8').then((r) => r.json()).then((l) => setItems(l.items), () => setItems([]));
  };
  return html`<details class="others" onToggle=${look}><summary>Other orders</summary>
    <ul>${(items ?? []).map((i) => {
      const id = i.stream.split('/')[1]!;
      return html`<li key=${id}><a href=${'#' + id} aria-current=${i.stream == desk.name ? 'page' : undefined}>${id}</a> <small>version ${i.version}</small></li>`;
    })}</ul></details>`;
}

function App() {
  const [, again] = useState(0);
  useEffect(() => {
    desk.draw = () => again((n) => n + 1);
    desk.draw();
  }, []);
  const id = desk.name.split('/')[1]!;
  return html`<div class="page">
    <header class="top">
      <div class="title">
        <h1><svg viewBox="0 0 32 32" width="34" height="34" aria-hidden="true"><path d="M4 8h24v5a3 3 0 0 0 0 6v5H4v-5a3 3 0 0 0 0-6Z" /><path class="tear" d="M20 10v12" /></svg>The order desk</h1>
        <p class="lead">Three people change one order at once. Nobody ever waits: each click leaves with a <em>ticket</em>, the id of
          the action that it believes came last, and the doorman lets it in if that is so.</p>
      </div>
      <nav aria-label="Orders">
        <p class="which">Order <b>${id}</b></p>
        <a class="button" href=${'#' + id} target="_blank" rel="noopener">Open in another tab</a>
        <button onClick=${() => go(fresh())}>New order</button>
        <${Others} />
      </nav>
    </header>
    <main>
      <${Tour} desk=${desk} />
      <${Timeline} ledger=${desk.ledger} />
      <section class="desks" aria-label="The desks">${desk.people.map((person) => html`<${Card} key=${person.name + id} person=${person} />`)}</section>
    </main>
    <p class="unseen" aria-live="polite" id="news">${desk.news}</p>
  </div>`;
}

desk.watch((a) => {
  if (a.status == 'landed' || a.status == 'rejected' || a.status == 'refused' || a.status == 'parked')
    desk.say(`${a.who}, ${label(a.type, a.data)}: ${outcome(a)}`);
});
go(desk.name.split('/')[1]!);
begin();
render(html`<${App} />`, document.getElementById('app')!);
