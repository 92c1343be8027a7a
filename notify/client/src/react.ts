import { useMemo, useSyncExternalStore } from 'react';
import type { Handle } from './act.ts';
import type { Conflict } from './conflict.ts';
import type { Stream } from './stream.ts';

/** What a component sees of a stream. It is another object whenever something in it has changed. */
export interface Seen<S> {
  state: S;
  confirmed: S;
  version: number;
  known: boolean;
  pending: readonly Handle[];
  /** The object lives on while the conflict is open, and shows what is newest. */
  conflict: Conflict | undefined;
  send: Stream<S>['send'];
  draft: Stream<S>['draft'];
}

/** Renders anew whenever the stream has changed: at most once a frame, and at once for what is sent from here. */
export function useStream<S>(stream: Stream<S>): Seen<S> {
  const look = useMemo(() => {
    let seen: Seen<S> | undefined;
    let revision = -1;
    const send: Seen<S>['send'] = (...a) => stream.send(...a);
    const draft = () => stream.draft();
    return () => {
      if (!seen || revision != stream.revision) {
        revision = stream.revision;
        const { state, confirmed, version, known, pending, conflict } = stream;
        seen = { state, confirmed, version, known, pending, conflict, send, draft };
      }
      return seen;
    };
  }, [stream]);
  return useSyncExternalStore(stream.subscribe, look, look);
}

/** Renders anew whenever the action's status has changed. */
export function useStatus(handle: Handle): Handle['status'] {
  return useSyncExternalStore(handle.subscribe, () => handle.status, () => handle.status);
}
