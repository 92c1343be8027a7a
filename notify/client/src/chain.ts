import type { Act } from './act.ts';
import { bytes, Handle, loose } from './act.ts';
import { renew } from './conflict.ts';
import type { Saved } from './types.ts';

/**
 * What of a chain may be handed to the network now, oldest first. `more`: also what has not been before; `lost`: the
 * server's state is not known; `conflict`: what is new waits behind a decision.
 */
export function ready(chain: Act[], now: number, window: number, is: { more: boolean; lost: boolean; conflict: boolean }): Act[] {
  const out: Act[] = [];
  let open = 0;
  let flying = false;
  let ordered = false;
  let unlanded = false;
  for (const a of chain) {
    if (a.held) continue;
    if (!a.ok) {
      ordered ||= loose(a);
      if (a.busy) flying = true;
      else if (is.conflict && !a.tries) continue;
      else if (
        !a.ticket || a.next > now || (a.old && is.lost) || (!a.tries && !is.more) || (ordered && flying) ||
        ((a.policy == 'strict' || a.calm == 2) && unlanded) || (a.calm && open)
      )
        break;
      else out.push(a);
    }
    // Counted from the oldest one that is open.
    if ((open || !a.ok) && ++open >= window) break;
    unlanded ||= a.version == null;
  }
  return out;
}

/**
 * Gives an action new ids whose predecessor is our own and simply was not there yet, and all that goes with it: the
 * user has nothing to decide.
 */
export function again(chain: Act[], a: Act, calm: number, id: () => string): void {
  const gone = new Map<string, string>();
  let ticket = a.ticket!;
  for (const b of chain.slice(chain.indexOf(a))) {
    if (b != a) {
      const follows = gone.get(b.ticket!);
      if (!follows || b.held || b.version != null || (b.tries && loose(b))) continue;
      ticket = follows;
    }
    const old = b.id;
    renew(b, ticket, id);
    b.calm = b == a ? calm : 1;
    gone.set(old, b.id);
  }
}

/** What was kept over a reload, with new handles; old is what the user sent before that time. */
export function restore(saved: Saved[], before: number): Act[] {
  const acts = saved.map((s): Act => ({ ...s, held: undefined, ok: !!s.ok, next: 0, handles: [], size: bytes(s.text) + 1024 }));
  for (const [i, a] of acts.entries()) {
    const h = new Handle(a);
    a.handles.push(h);
    a.held = acts.find((r) => r.id == saved[i]!.held);
    a.old = a.at < before;
    if (a.tries) h._to('sent');
    if (a.ok) h._accept();
  }
  return acts;
}
