import type { Persistence, Saved } from './types.ts';

/** What {@link persist} takes. */
export interface PersistOptions {
  /** The name of the database; one for each user who may sign in here. */
  name?: string;
  /** Instead of the browser's. */
  indexedDB?: IDBFactory;
  locks?: LockManager;
}

interface Row {
  session: string;
  stream: string;
  chain: Saved[];
}

const wait = <T>(r: IDBRequest<T>): Promise<T> =>
  new Promise((yes, no) => {
    r.onsuccess = () => yes(r.result);
    r.onerror = () => no(r.error);
  });

/**
 * Keeps pending actions in IndexedDB, so that they survive a reload, a crash and a closed page. Each page owns its
 * session by a Web Lock; a page that opens takes over the sessions that nobody owns, with what they left behind.
 * Where there are no Web Locks a page begins anew, and what others left behind stays where it is.
 */
export function persist(options: PersistOptions = {}): Persistence {
  const { name = 'doorman', indexedDB: factory = globalThis.indexedDB, locks = globalThis.navigator?.locks } = options;
  /** Which session keeps which stream. */
  const homes = new Map<string, string>();
  const releases: (() => void)[] = [];
  let own = '';
  let db: IDBDatabase | undefined;
  let closed = false;

  const opened = async (): Promise<IDBDatabase> => {
    const r = factory.open(name, 1);
    r.onupgradeneeded = () => r.result.createObjectStore('chains', { keyPath: ['url', 'session', 'stream'] });
    return wait(r);
  };

  /** Owns a session until the page goes; false when somebody else does. */
  const lock = (session: string): Promise<boolean> =>
    new Promise((yes) => {
      void locks!.request(`doorman ${name} ${session}`, { ifAvailable: true }, (l) => {
        yes(!!l && !closed);
        return l && !closed ? new Promise<void>((release) => releases.push(release)) : undefined;
      });
    });

  let address = '';
  return {
    async open(url, done) {
      address = url;
      own = Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => (b + 256).toString(16).slice(1)).join('');
      const sessions: string[] = [];
      const chains = new Map<string, Saved[]>();
      try {
        db = await opened();
        if (locks) {
          await lock(own);
          const rows: Row[] = await wait(db.transaction('chains').objectStore('chains').getAll(under(url)));
          for (const session of new Set(rows.map((r) => r.session))) {
            if (!(await lock(session))) continue;
            sessions.push(session);
            // Read again: until now it may have had another owner.
            const mine: Row[] = await wait(db.transaction('chains').objectStore('chains').getAll(under(url, session)));
            for (const { stream, chain } of mine) {
              chains.set(stream, [...(chains.get(stream) ?? []), ...chain]);
              homes.set(session + ' ' + stream, stream);
            }
          }
        }
      } catch {
        db = undefined; // As in a private window: nothing is kept, and everything else works.
      }
      if (!closed) done([own, ...sessions], [...chains]);
    },
    save(chains, done) {
      if (!db) return done();
      try {
        const t = db.transaction('chains', 'readwrite', { durability: 'strict' });
        const store = t.objectStore('chains');
        for (const [stream, chain] of chains) {
          // What was taken over is kept under the session of this page from now on.
          for (const [key, of] of homes)
            if (of == stream) {
              store.delete([address, key.split(' ')[0]!, stream]);
              homes.delete(key);
            }
          if (chain.length) store.put({ url: address, session: own, stream, chain });
          else store.delete([address, own, stream]);
        }
        t.oncomplete = () => done();
        t.onabort = () => done(t.error ?? new Error('it was not kept'));
      } catch (e) {
        done(e);
      }
    },
    close() {
      closed = true;
      db?.close();
      for (const release of releases.splice(0)) release();
    },
  };
}

/** All keys of an address, or of one session there. */
const under = (...prefix: string[]): IDBKeyRange => IDBKeyRange.bound(prefix, [...prefix, []]);
