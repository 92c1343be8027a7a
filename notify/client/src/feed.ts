import type { Clock, Feeds, Transport } from './types.ts';

/** For so long after a proxy held server-sent events back they are not tried again, in ms. */
const POLLING = 300_000;

/** How long to stay away after so many failures in a row: anywhere below a bound that doubles (full jitter). */
export const jitter = (clock: Clock, tries: number, later = 0): number =>
  later + clock.random() * Math.min(30_000, 500 * 2 ** tries);

/** Feeds by a transport: one connection for all that is wanted, opened again from its last mark whenever it ends. */
export const feeds = (transport: Transport, clock: Clock): Feeds => (watcher, mark, marked) => {
  let stop: (() => void) | undefined;
  let cancel: (() => void) | undefined;
  let tries = 0;
  let polling = 0;
  let asked = '';
  let closed = false;

  const close = () => {
    stop?.();
    cancel?.();
    stop = cancel = undefined;
  };
  const key = (w = watcher.want()) => JSON.stringify([Object.keys(w.streams).sort(), w.sessions]);
  const again = (ms: number) => {
    close();
    if (!closed) cancel = clock.after(ms, open);
  };
  const open = () => {
    close();
    // Without a mark nothing says what became of own commands meanwhile.
    if (!mark) watcher.event('reset', {});
    const { streams, sessions } = watcher.want();
    asked = key();
    const names = Object.keys(streams);
    if (!names.length) return;
    let over = false;
    stop = transport.listen(
      { streams: names.map((n) => n + '@' + (streams[n] ?? 'new')), sessions, after: mark, deliver: 'state' },
      clock.now() < polling,
      {
        open() {
          tries = 0;
          watcher.live(true);
        },
        event: (name, data) => watcher.event(name, data),
        mark(id) {
          mark = id;
          marked?.(id);
        },
        end({ later, quiet, problem } = {}) {
          if (over) return;
          over = true;
          stop = undefined;
          watcher.live(false, problem);
          if (quiet) polling = clock.now() + POLLING;
          again(quiet ? 0 : jitter(clock, tries++, later));
        },
      },
    );
  };
  return {
    update(anew) {
      if (!closed && (anew || asked != key())) open();
    },
    wake() {
      tries = 0;
      if (!closed && !stop) open();
    },
    close() {
      closed = true;
      close();
    },
  };
};
