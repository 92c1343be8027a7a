/** The timeline: a lane for each person, and each action with an arrow to the one that its ticket names. */
import { useEffect, useRef, useState } from 'preact/hooks';
import { glyph, sign, statuses } from './glyph.ts';
import { html } from './html.ts';
import type { Action, Ledger } from './ledger.ts';
import { label } from './order.ts';
import { names } from './people.ts';

/** So many are drawn. */
const SHOWN = 60;
const R = 15;
/** Where the first lane is. */
const TOP = 30;
/** Where things stand on a wide screen, and on a small one. */
const wide = { column: 98, lane: 90, left: 92 };
const small = { column: 86, lane: 70, left: 70 };
const narrow = matchMedia('(max-width: 860px)');

interface Place {
  x: number;
  y: number;
}

const short = (text: string, most = 15): string => (text.length > most ? text.slice(0, most - 1) + '…' : text);

/** Why or how, in a word or two. */
export function outcome(a: Action): string {
  switch (a.status) {
    case 'landed':
      return 'landed';
    case 'rejected':
    case 'refused':
      if (a.reason?.startsWith('predecessor_rejected')) return 'went with it';
      if (a.reason == 'policy_forbidden') return 'not allowed';
      return (a.reason ?? a.status).replace(/ .*/, '').replaceAll('_', ' ');
    case 'sent':
      return a.sent > 1 ? `sent, ${a.sent} times` : 'sent';
  }
  return a.status;
}

/** An action as a sentence. */
function sentence(a: Action, before?: Action): string {
  const follows = a.policy == 'any' ? 'sent without looking at its ticket' : before
    ? `its ticket names ${before.who}’s “${label(before.type, before.data)}”`
    : a.ticket == 'genesis' ? 'its ticket says that nothing had happened' : 'its ticket names an earlier action';
  const ends = a.status == 'landed' ? `landed as version ${a.version}` : a.reason ? `${a.status}: ${a.detail || a.reason.replaceAll('_', ' ')}` : a.status;
  return `${a.who}: ${label(a.type, a.data)}; ${follows}; ${ends}`;
}

/** The way from an action to the one it follows: along its own lane, if that is free, and over at the end. */
function path(from: Place, to: Place, free: boolean): string {
  const x1 = from.x - R - 3;
  const x2 = to.x + R + 5;
  if (from.y == to.y && free) return `M${x1} ${from.y}H${x2}`;
  if (from.y == to.y) {
    const up = from.y - 34;
    return `M${from.x - 6} ${from.y - R - 2}C${from.x - 14} ${up} ${to.x + 14} ${up} ${to.x + 7} ${to.y - R - 4}`;
  }
  const bend = Math.max(26, Math.min(free ? 32 : 54, Math.abs(x1 - x2) / 2));
  const turn = free ? Math.min(x1, x2 + 2 * bend) : x1;
  return `M${x1} ${from.y}H${turn}C${turn - bend} ${from.y} ${x2 + bend} ${to.y} ${x2} ${to.y}`;
}

function Edges({ shown, places, start }: { shown: Action[]; places: Map<string, Place>; start: Place }) {
  return shown.map((a) => {
    const from = places.get(a.id)!;
    if (!a.ticket) return null;
    const to = a.ticket == 'genesis' ? start : places.get(a.ticket);
    const free = !shown.some((b) => {
      const p = places.get(b.id)!;
      return p.y == from.y && p.x < from.x && p.x > (to?.x ?? 0);
    });
    const d = to ? path(from, to, free) : `M${from.x - R - 3} ${from.y}h-30`;
    return html`<path key=${'e' + a.id} class=${`edge ${a.status}`} d=${d} marker-end=${`url(#tip-${a.status})`} />`;
  });
}

function Nodes({ shown, places, chosen, choose }: { shown: Action[]; places: Map<string, Place>; chosen?: string; choose: (id?: string) => void }) {
  return shown.map((a) => {
    const { x, y } = places.get(a.id)!;
    return html`<g key=${a.id} class=${`node ${a.status} ${chosen == a.id ? 'chosen' : ''}`} transform=${`translate(${x} ${y})`}
      data-action=${a.id} data-status=${a.status} onMouseEnter=${() => choose(a.id)} onMouseLeave=${() => choose()} onClick=${() => choose(a.id)}>
      <rect class="reach" x="-43" y="-24" width="86" height="76" />
      ${a.policy == 'any' && html`<circle class="override" r="19" />`}
      ${glyph(a.status, a.version)}
      <text class="what" y="33">${short(label(a.type, a.data))}</text>
      <text class="how" y="48">${short(outcome(a))}</text>
    </g>`;
  });
}

const tips = html`<defs>${statuses.map(({ status }) => html`<marker id=${'tip-' + status} class=${'tip ' + status} viewBox="0 0 10 10" refX="8" refY="5"
  markerWidth="9" markerHeight="9" markerUnits="userSpaceOnUse" orient="auto-start-reverse">
  ${status == 'rejected' || status == 'refused' ? html`<path class="cross" d="M2 2l6 6M8 2l-6 6" />` : html`<path d="M1 1.5 9 5 1 8.5Z" />`}</marker>`)}</defs>`;

export function Timeline({ ledger }: { ledger: Ledger }) {
  const [chosen, choose] = useState<string>();
  const box = useRef<HTMLDivElement>(null);
  const [{ column, lane, left }, measure] = useState(narrow.matches ? small : wide);
  useEffect(() => {
    const turned = () => measure(narrow.matches ? small : wide);
    narrow.addEventListener('change', turned);
    return () => narrow.removeEventListener('change', turned);
  }, []);
  const shown = ledger.actions.slice(-SHOWN);
  const others = shown.some((a) => !names.includes(a.who as any));
  const lanes = others ? [...names, 'Others'] : names;
  const laneOf = (who: string) => (names.includes(who as any) ? names.indexOf(who as any) : names.length);
  const y = (at: number) => TOP + lane * at;
  const places = new Map(shown.map((a, i) => [a.id, { x: left + 60 + column * i, y: y(laneOf(a.who)) }]));
  const first = shown.find((a) => a.ticket == 'genesis');
  const start = { x: left - 6, y: y(first ? laneOf(first.who) : 0) };
  const width = left + 60 + column * shown.length - column / 2 + 8;
  const height = y(lanes.length - 1) + 58;
  const last = shown.at(-1)?.id;
  useEffect(() => {
    const b = box.current!;
    const calm = matchMedia('(prefers-reduced-motion: reduce)').matches;
    b.scrollTo({ left: b.scrollWidth, behavior: calm ? 'auto' : 'smooth' });
  }, [last]);
  const told = shown.find((a) => a.id == chosen) ?? shown.find((a) => a.id == ledger.latest) ?? shown.at(-1);
  const walk = (e: KeyboardEvent) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[e.key];
    if (!step || !shown.length) return;
    e.preventDefault();
    const at = shown.findIndex((a) => a.id == (chosen ?? last));
    const next = shown[Math.max(0, Math.min(shown.length - 1, at + (chosen ? step : 0)))]!;
    choose(next.id);
    box.current!.scrollTo({ left: places.get(next.id)!.x - box.current!.clientWidth / 2 });
  };
  return html`<section class="timeline" aria-labelledby="timeline">
    <div class="heading">
      <h2 id="timeline">Every action, and the one its ticket names</h2>
      <p>One path lands. Whoever points at an action that is no longer the last is turned away.</p>
    </div>
    <div class="track">
      <div class="lanes" aria-hidden="true">${lanes.map((l, i) => html`<span class="lane" style=${{ top: `${y(i)}px` }}>${l}</span>`)}</div>
      <div class="scroll" ref=${box} tabIndex=${0} role="group" aria-label="Timeline; the arrow keys go from action to action"
        aria-describedby="told" onKeyDown=${walk} onBlur=${() => choose(undefined)}>
        <svg width=${width} height=${height} aria-hidden="true">
          ${tips}
          ${lanes.map((_, i) => html`<line class="rail" x1="0" x2="100%" y1=${y(i)} y2=${y(i)} />`)}
          <g class="start" transform=${`translate(${start.x} ${start.y})`}><circle r="6" /><text y="22">start</text></g>
          <${Edges} shown=${shown} places=${places} start=${start} />
          <${Nodes} shown=${shown} places=${places} chosen=${chosen} choose=${choose} />
        </svg>
        <ol class="unseen">${shown.slice(-20).map((a) => html`<li key=${a.id}>${sentence(a, ledger.get(a.ticket))}</li>`)}</ol>
      </div>
    </div>
    <p class="told" id="told">${told ? html`${sign(told.status, told.version)} ${sentence(told, ledger.get(told.ticket))}.` : 'Click anything below, and watch it come in.'}</p>
    <dl class="legend">${statuses.map(({ status, means }) => html`<div key=${status}><dt class=${status}>${sign(status, status == 'landed' ? 7 : undefined)} ${status}</dt><dd>${means}</dd></div>`)}</dl>
  </section>`;
}
