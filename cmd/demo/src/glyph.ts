/** Statuses as they are drawn: each has a shape, a word and a colour, so that none depends on another. */
import type { Status } from '../../../notify/client/src/index.ts';
import { html } from './html.ts';

export const statuses: { status: Status; means: string }[] = [
  { status: 'queued', means: 'clicked, not sent yet' },
  { status: 'sent', means: 'on its way' },
  { status: 'parked', means: 'came before the one it follows; waits for it' },
  { status: 'landed', means: 'let in, and numbered' },
  { status: 'rejected', means: 'somebody got in between, or a rule said no' },
  { status: 'refused', means: 'may not be asked for at all' },
];

/** A status around the point 0,0, some 30 units across. */
export function glyph(status: Status, version?: number) {
  const number = String(version ?? '');
  switch (status) {
    case 'queued':
      return html`<g class="glyph queued"><circle r="13" /><path d="M-5 0h.01M0 0h.01M5 0h.01" class="mark dots" /></g>`;
    case 'sent':
      return html`<g class="glyph sent"><circle r="13" /><path d="M-5 0H5M1.5-3.5 5 0 1.5 3.5" class="mark" /></g>`;
    case 'parked':
      return html`<g class="glyph parked"><rect x="-12.5" y="-12.5" width="25" height="25" rx="6" /><path d="M-3.5-4.5v9M3.5-4.5v9" class="mark" /></g>`;
    case 'landed':
      return html`<g class="glyph landed"><circle r="14" />${number && number.length < 4
        ? html`<text class="number" y="4.5">${number}</text>`
        : html`<path d="M-5.5.5-1.5 4.5 6-4" class="mark" />`}</g>`;
    case 'rejected':
      return html`<g class="glyph rejected"><path d="M-5.8-14H5.8L14-5.8V5.8L5.8 14H-5.8L-14 5.8V-5.8Z" /><path d="M-4.5-4.5l9 9M4.5-4.5l-9 9" class="mark" /></g>`;
    case 'refused':
      return html`<g class="glyph refused"><path d="M0-15.5 15.5 0 0 15.5-15.5 0Z" /><path d="M-5 0H5" class="mark" /></g>`;
  }
}

/** The same beside text. */
export const sign = (status: Status, version?: number) =>
  html`<svg class="sign" viewBox="-17 -17 34 34" width="18" height="18" aria-hidden="true">${glyph(status, version)}</svg>`;
