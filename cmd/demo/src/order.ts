/** The order as package aggregate/order tells it, and what its commands will probably do to it. */
import type { Change, StreamOptions } from '../../../notify/client/src/index.ts';

export interface Line {
  sku: string;
  qty: number;
  price_cents: number;
}

export interface Order {
  status: 'draft' | 'submitted' | 'approved' | 'refused';
  owner?: string;
  lines: Line[];
  total_cents: number;
  reason?: string;
}

/** What the shop sells. Any other article that is on an order is shown by its number. */
export const articles: { sku: string; name: string; price_cents: number }[] = [
  { sku: 'PENCIL', name: 'Pencils', price_cents: 120 },
  { sku: 'PAPER', name: 'Paper', price_cents: 690 },
  { sku: 'LAMP', name: 'Desk lamp', price_cents: 4900 },
  { sku: 'CHAIR', name: 'Chair', price_cents: 18900 },
];

export const nameOf = (sku: string): string => articles.find((a) => a.sku == sku)?.name ?? sku;

/** The most that one line may ask for, as the command's schema has it. */
export const maxQty = 10_000;

export const money = (cents: number): string =>
  (cents / 100).toLocaleString('en', { minimumFractionDigits: 2, maximumFractionDigits: 2 });

export const empty: Order = { status: 'draft', lines: [], total_cents: 0 };

const withLines = (order: Order, lines: Line[]): Order => ({
  ...order,
  lines,
  total_cents: lines.reduce((sum, l) => sum + l.qty * l.price_cents, 0),
});

/** Each changes nothing where the order would say no; the server has the last word. */
const predict: Record<string, (order: Order, data: any) => Order> = {
  add_line: (o, d) =>
    o.status != 'draft' || o.lines.some((l) => l.sku == d.sku) ? o : withLines(o, [...o.lines, d]),
  change_line: (o, d) =>
    o.status != 'draft' ? o : withLines(o, o.lines.map((l) => (l.sku == d.sku ? { ...l, qty: d.qty } : l))),
  remove_line: (o, d) => (o.status != 'draft' ? o : withLines(o, o.lines.filter((l) => l.sku != d.sku))),
  submit: (o) => (o.status == 'draft' && o.lines.length ? { ...o, status: 'submitted' } : o),
  approve: (o) => (o.status == 'submitted' ? { ...o, status: 'approved' } : o),
  refuse: (o, d) => (o.status == 'submitted' ? { ...o, status: 'refused', reason: d.reason } : o),
  assign_owner: (o, d) => (o.status == 'draft' || o.status == 'submitted' ? { ...o, owner: d.owner } : o),
};

export const orders: StreamOptions<Order> = { initial: empty, predict };

/** An action in a few words, for where there is little room. */
export function label(type: string, data: any): string {
  data ??= {};
  switch (type) {
    case 'add_line':
    case 'line_added':
      return `Add ${nameOf(data.sku)}`;
    case 'change_line':
    case 'line_changed':
      return `${nameOf(data.sku)} → ${data.qty}`;
    case 'remove_line':
    case 'line_removed':
      return `Drop ${nameOf(data.sku)}`;
    case 'assign_owner':
    case 'owner_assigned':
      return `Owner: ${data.owner}`;
    case 'submit':
    case 'submitted':
      return 'Submit';
    case 'approve':
    case 'approved':
      return 'Approve';
    case 'refuse':
    case 'refused':
      return 'Decline';
  }
  return type;
}

/** An action as a sentence's predicate, in the past. */
export function told(type: string, data: any): string {
  switch (type) {
    case 'add_line':
    case 'line_added':
      return `added ${data.qty} × ${nameOf(data.sku)}`;
    case 'change_line':
    case 'line_changed':
      return `set ${nameOf(data.sku)} to ${data.qty}`;
    case 'remove_line':
    case 'line_removed':
      return `took ${nameOf(data.sku)} off`;
    case 'assign_owner':
    case 'owner_assigned':
      return `made ${data.owner} the owner`;
    case 'submit':
    case 'submitted':
      return 'submitted the order';
    case 'approve':
    case 'approved':
      return 'approved the order';
    case 'refuse':
    case 'refused':
      return 'declined the order';
  }
  return `did ${type}`;
}

/** The same as something that is wanted. */
export function wanted(type: string, data: any): string {
  switch (type) {
    case 'add_line':
      return `Add ${data.qty} × ${nameOf(data.sku)}`;
    case 'change_line':
      return `Set ${nameOf(data.sku)} to ${data.qty}`;
    case 'remove_line':
      return `Take ${nameOf(data.sku)} off`;
    case 'assign_owner':
      return `Make ${data.owner} the owner`;
    case 'submit':
      return 'Submit the order';
    case 'approve':
      return 'Approve the order';
    case 'refuse':
      return 'Decline the order';
  }
  return type;
}

/** Who did a change, and what. */
export const toldOf = (c: Change): { who: string; what: string } => ({
  who: c.command.actor || 'Somebody',
  what: told(c.type, c.data),
});
