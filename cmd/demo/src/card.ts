/** One person's desk. */
import { useRef, useState } from 'preact/hooks';
import type { Handle, Status } from '../../../notify/client/src/index.ts';
import { Dialog } from './dialog.ts';
import { useFocusKept } from './focus.ts';
import { sign } from './glyph.ts';
import { html } from './html.ts';
import type { Mischief } from './network.ts';
import { articles, maxQty, money, nameOf } from './order.ts';
import type { Line } from './order.ts';
import type { Person } from './people.ts';

const switches: { what: keyof Mischief; word: string; means: string; icon: string }[] = [
  { what: 'cut', word: 'Cut', means: 'nothing goes in or out', icon: 'M4 12h5m6 0h5M9 8v8m6-8v8' },
  { what: 'slow', word: 'Slow', means: 'a second and a half each way', icon: 'M12 7v5l3 2M20 12a8 8 0 1 1-16 0 8 8 0 0 1 16 0' },
  { what: 'shuffle', word: 'Shuffle', means: 'what is sent first arrives last', icon: 'M4 8h4l8 8h4M4 16h4l2-2m4-4 2-2h4m-2-2 2 2-2 2m0 4 2 2-2 2' },
  { what: 'double', word: 'Double', means: 'everything is sent twice', icon: 'M5 9h10v10H5zM9 9V5h10v10h-4' },
];

const states: Record<string, string> = { draft: 'draft', submitted: 'submitted', approved: 'approved', refused: 'declined' };

function Quantity({ person, line, unsure, busy }: { person: Person; line: Line; unsure: boolean; busy: boolean }) {
  const [draft, setDraft] = useState<string>();
  const set = (qty: number, typed = false) => {
    if (!Number.isInteger(qty) || qty < 1 || qty > maxQty) return;
    // Digits that are typed before anything has left are one action; clicks are one each.
    const one = typed && person.stream.pending.at(-1)?.data?.sku == line.sku;
    person.send('change_line', { sku: line.sku, qty }, one ? { merge: (_, later) => later } : undefined);
  };
  // What is on the screen when it is clicked is what counts.
  const now = () => person.stream.state.lines.find((l) => l.sku == line.sku)?.qty ?? line.qty;
  const name = nameOf(line.sku);
  return html`<span class=${`quantity ${unsure ? 'unsure' : ''}`}>
    <button aria-label=${`${name}: one less`} disabled=${busy} aria-disabled=${line.qty <= 1} onClick=${() => set(now() - 1)}>−</button>
    <input type="number" inputMode="numeric" min="1" max=${maxQty} aria-label=${`${name}: pieces`} disabled=${busy}
      value=${draft ?? line.qty} onInput=${(e: any) => {
        setDraft(e.target.value);
        if (e.target.value && +e.target.value != now()) set(+e.target.value, true);
      }} onBlur=${() => setDraft(undefined)} />
    <button aria-label=${`${name}: one more`} disabled=${busy} onClick=${() => set(now() + 1)}>+</button>
  </span>`;
}

function Lines({ person }: { person: Person }) {
  const { state, confirmed } = person.stream;
  const busy = state.status != 'draft';
  const clerk = person.name != 'Mia';
  const before = new Map(confirmed.lines.map((l) => [l.sku, l.qty]));
  if (!state.lines.length) return html`<p class="nothing">${person.stream.known ? 'Nothing on the order yet.' : 'Asking the server…'}</p>`;
  return html`<ul class="lines">${state.lines.map((l) => {
    const unsure = before.get(l.sku) != l.qty;
    return html`<li key=${l.sku} class=${unsure ? 'unsure' : ''}>
      <span class="article">${nameOf(l.sku)}<small>${money(l.price_cents)}</small></span>
      ${clerk ? html`<${Quantity} person=${person} line=${l} unsure=${unsure} busy=${busy} />` : html`<span class="pieces">${l.qty}</span>`}
      ${clerk && html`<button class="remove" aria-label=${`Take ${nameOf(l.sku)} off`} disabled=${busy}
        onClick=${() => person.send('remove_line', { sku: l.sku })}>×</button>`}
      ${unsure && html`<span class="unseen">not confirmed yet</span>`}
    </li>`;
  })}</ul>`;
}

function Clerk({ person }: { person: Person }) {
  const { state } = person.stream;
  const rest = articles.filter((a) => !state.lines.some((l) => l.sku == a.sku));
  const draft = state.status == 'draft';
  return html`<div class="actions">
    ${draft && rest.map((a) => html`<button key=${a.sku} class="add" onClick=${() => person.send('add_line', { sku: a.sku, qty: 1, price_cents: a.price_cents })}>
      <span aria-hidden="true">+ </span><span class="unseen">Add </span>${a.name}</button>`)}
    <button class="submit" disabled=${!draft} onClick=${() => person.send('submit')}>Submit</button>
  </div>`;
}

function Manager({ person }: { person: Person }) {
  const { state } = person.stream;
  const closed = state.status == 'approved' || state.status == 'refused';
  const waiting = state.status == 'submitted';
  return html`<div class="powers">
    <fieldset disabled=${closed}>
      <legend>Give the order to</legend>
      ${['Ann', 'Ben'].map((owner) => html`<button key=${owner} aria-pressed=${state.owner == owner} onClick=${() =>
        person.send('assign_owner', { owner }, { policy: 'any' })}>${owner}</button>`)}
      <p class="note">Hers alone, and at once: policy <code>any</code> asks for no ticket, and makes everybody else’s stale.</p>
    </fieldset>
    <div class="actions">
      <button class="submit" disabled=${!waiting} onClick=${() => person.send('approve')}>Approve</button>
      <button disabled=${!waiting} onClick=${() => person.send('refuse', { reason: 'Over budget' })}>Decline</button>
      <button class="force" disabled=${closed} onClick=${() => person.send('approve', {}, { policy: 'any' })}>Approve unseen</button>
    </div>
    <p class="note">Approving without looking is what even she may not: it is refused.</p>
  </div>`;
}

function Network({ person }: { person: Person }) {
  const { mischief } = person.wire;
  return html`<fieldset class="network">
    <legend>Mischief with ${person.name}’s network</legend>
    <div>${switches.map(({ what, word, means, icon }) => html`<button key=${what} aria-pressed=${mischief[what]} title=${means} data-switch=${what}
      onClick=${() => person.wire.set(what, !mischief[what])}>
      <svg viewBox="0 0 24 24" width="18" height="18" aria-hidden="true"><path d=${icon} /></svg>
      ${word}<span class="unseen">, ${means}</span></button>`)}</div>
  </fieldset>`;
}

/** What of theirs is on its way, in a line. */
function Waiting({ person }: { person: Person }) {
  const handles = person.stream.pending;
  const { cut } = person.wire.mischief;
  if (!handles.length) return html`<p class="waiting">${cut ? 'Cut off. Go on clicking.' : person.client.connected ? 'All confirmed' : 'No connection. Go on clicking.'}</p>`;
  const { conflict } = person;
  const held = new Set(conflict ? [conflict.mine, ...conflict.rest] : []);
  const what = held.size == handles.length ? 'for a decision' : cut ? 'for the network' : 'for an answer';
  const stands = (h: Handle): Status => {
    const status = person.known(h.id)?.status ?? h.status;
    return held.has(h) && status != 'refused' ? 'rejected' : status;
  };
  return html`<p class="waiting some"><span class="signs">${handles.slice(0, 8).map((h) => html`<span key=${h.id}>${sign(stands(h))}</span>`)}</span>
    ${handles.length} ${handles.length == 1 ? 'waits' : 'wait'} ${what}</p>`;
}

export function Card({ person }: { person: Person }) {
  const box = useRef<HTMLElement>(null);
  useFocusKept(box);
  const { state } = person.stream;
  const { conflict } = person;
  const { cut, slow } = person.wire.mischief;
  const clerk = person.name != 'Mia';
  return html`<article class=${`card ${cut ? 'cut' : ''} ${slow ? 'slow' : ''}`} aria-labelledby=${'name-' + person.name} data-person=${person.name} ref=${box} tabIndex=${-1}>
    <header>
      <span class=${'face ' + person.name.toLowerCase()} aria-hidden="true">${person.name[0]}</span>
      <div><h2 id=${'name-' + person.name}>${person.name}</h2><p>${clerk ? 'clerk' : 'manager'}</p></div>
      <div class="order"><span class=${'state ' + state.status}>${states[state.status]}</span><span class="owner">${state.owner ? `${state.owner}’s` : 'no owner'}</span></div>
    </header>
    ${conflict && html`<${Dialog} key=${conflict.mine.id} conflict=${conflict} name=${person.name} decided=${() => box.current?.focus({ preventScroll: true })} />`}
    <${Lines} person=${person} />
    <p class="total"><span>Total</span><b>${money(state.total_cents)}</b></p>
    ${clerk ? html`<${Clerk} person=${person} />` : html`<${Manager} person=${person} />`}
    <footer><${Waiting} person=${person} />${clerk && html`<${Network} person=${person} />`}</footer>
  </article>`;
}
