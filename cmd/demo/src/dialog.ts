/** What a person sees when an action of theirs was turned away: mine, theirs, and what to do. It blocks nothing. */
import { useRef, useState } from 'preact/hooks';
import type { Conflict } from '../../../notify/client/src/index.ts';
import { sign } from './glyph.ts';
import { html } from './html.ts';
import { maxQty, nameOf, toldOf, wanted } from './order.ts';
import type { Order } from './order.ts';

const titles: Record<string, string> = {
  stale_ticket: 'Somebody was faster',
  ticket_not_current: 'Somebody was faster',
  refused: 'The order says no',
  policy_forbidden: 'Not allowed',
  predecessor_missing: 'The action before it never came',
  too_old: 'Still wanted? It is from an earlier visit',
};

const now = (o: Order | null): string => {
  if (!o) return 'nothing yet';
  const lines = o.lines.map((l) => `${nameOf(l.sku)} ${l.qty}`).join(', ') || 'no articles';
  return `${lines}; ${o.status}${o.owner ? `, ${o.owner}’s` : ''}`;
};

export function Dialog({ conflict, name, decided }: { conflict: Conflict; name: string; decided: () => void }) {
  const [carry, setCarry] = useState(true);
  const [draft, setDraft] = useState<string>();
  const returned = useRef(false);
  const { mine, missed, rest } = conflict;
  const { type, data } = mine;
  const along = { rest: carry ? ('carry' as const) : ('drop' as const) };
  const act = (fn: () => void) => () => {
    fn();
    decided();
  };
  const editable = type == 'change_line' || type == 'add_line';
  // What nobody may is not tried twice.
  const never = conflict.reason == 'policy_forbidden';
  const faster = missed.length > 0;
  const qty = Number(draft);
  const edit = (e: Event) => {
    e.preventDefault();
    if (Number.isInteger(qty) && qty >= 1 && qty <= maxQty) act(() => conflict.edit({ ...data, qty }, along))();
  };
  const back = () => {
    returned.current = true;
    setDraft(undefined);
  };
  return html`<section class=${`conflict ${never ? 'refused' : 'rejected'}`} aria-labelledby=${`conflict-${name}`} data-conflict=${name}>
    <div role="alert"><h3 id=${`conflict-${name}`}>${sign(never ? 'refused' : 'rejected')} ${titles[conflict.reason] ?? 'Turned away'}<span class="unseen">, ${name}</span></h3></div>
    <dl>
      <div class="mine"><dt>Mine</dt><dd>${wanted(type, data)}</dd></div>
      ${missed.length
        ? html`<div class="theirs"><dt>Theirs</dt><dd><ul>${missed.slice(-4).map((c) => {
            const { who, what } = toldOf(c);
            return html`<li key=${c.version}><b>${who}</b> ${what}</li>`;
          })}${missed.length > 4 && html`<li class="more">and ${missed.length - 4} before that</li>`}</ul></dd></div>`
        : html`<div class="theirs"><dt>Why</dt><dd>${conflict.rejection.detail || conflict.reason.replaceAll('_', ' ')}</dd></div>`}
      <div><dt>Now</dt><dd>${now(conflict.state)}</dd></div>
    </dl>
    ${rest.length > 0 && html`<label class="rest"><input type="checkbox" checked=${carry} onChange=${(e: any) => setCarry(e.target.checked)} />
      <span>${rest.length == 1 ? 'the click after it goes along' : `the ${rest.length} clicks after it go along`}</span></label>`}
    ${draft === undefined
      ? html`<div class="choices">
          ${!never && html`<button class=${faster ? 'primary' : ''} onClick=${act(() => conflict.retry(along))}>Try again</button>`}
          ${editable && html`<button ref=${(el: HTMLElement | null) => el && returned.current && ((returned.current = false), el.focus())} onClick=${() => setDraft(String(data.qty))}>Edit</button>`}
          <button class=${faster ? '' : 'primary'} onClick=${act(() => conflict.drop(along))}>Give up</button>
        </div>`
      : html`<form class="choices" onSubmit=${edit} onKeyDown=${(e: KeyboardEvent) => e.key == 'Escape' && back()} noValidate>
          <label>${nameOf(data.sku)} <input type="number" min="1" max=${maxQty} value=${draft} ref=${(el: HTMLInputElement | null) => el && !el.dataset.met && ((el.dataset.met = '1'), el.select())}
            onInput=${(e: any) => setDraft(e.target.value)} /></label>
          <button class="primary" type="submit">Send</button>
          <button type="button" onClick=${back}>Back</button>
        </form>`}
  </section>`;
}
