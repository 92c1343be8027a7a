import fc from 'fast-check';

/** What users and the world do, one after the other. */
export type Step = { gap: number; user: number; stream: number } & (
  | { do: 'send'; type: 'add' | 'odd' | 'look' | 'nonsense' | 'forbid'; policy: 'ticket' | 'strict' | 'session' | 'any'; merge: boolean }
  | { do: 'draft' | 'submit' | 'reload' | 'cut' | 'reset' | 'operator' }
  | { do: 'offline'; ms: number }
  | { do: 'decide'; choice: 'retry' | 'edit' | 'drop'; rest: 'carry' | 'drop' }
);

export interface Plan {
  seed: number;
  users: number;
  streams: number;
  /** The first user keeps actions over a reload, and so on. */
  fresh: boolean;
  /** How bad the network is, 0 to 3. */
  weather: number;
  /** How much is parked at most on a stream. */
  parked: number;
  steps: Step[];
}

const gap = fc.oneof(
  { weight: 5, arbitrary: fc.constant(0) }, { weight: 5, arbitrary: fc.integer({ min: 0, max: 60 }) },
  { weight: 2, arbitrary: fc.integer({ min: 0, max: 3000 }) }, { weight: 1, arbitrary: fc.integer({ min: 0, max: 60_000 }) },
);

const deed = fc.oneof(
  {
    weight: 30,
    arbitrary: fc.record({
      do: fc.constant('send' as const),
      type: fc.oneof(
        { weight: 20, arbitrary: fc.constant('add' as const) }, { weight: 4, arbitrary: fc.constant('odd' as const) },
        { weight: 3, arbitrary: fc.constant('look' as const) }, { weight: 1, arbitrary: fc.constantFrom('nonsense' as const, 'forbid' as const) },
      ),
      policy: fc.oneof(
        { weight: 20, arbitrary: fc.constant('ticket' as const) }, { weight: 1, arbitrary: fc.constant('strict' as const) },
        { weight: 1, arbitrary: fc.constantFrom('session' as const, 'any' as const) },
      ),
      merge: fc.oneof({ weight: 4, arbitrary: fc.constant(false) }, { weight: 1, arbitrary: fc.constant(true) }),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('draft' as const) }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('submit' as const) }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('reload' as const) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constantFrom('cut' as const, 'operator' as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('reset' as const) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('offline' as const), ms: fc.integer({ min: 10, max: 90_000 }) }) },
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant('decide' as const), choice: fc.constantFrom('retry' as const, 'edit' as const, 'drop' as const),
      rest: fc.constantFrom('carry' as const, 'drop' as const),
    }),
  },
);

const step = fc.tuple(fc.record({ gap, user: fc.nat(2), stream: fc.nat(1) }), deed).map(([who, what]) => ({ ...who, ...what }) as Step);

export const plan: fc.Arbitrary<Plan> = fc.record({
  seed: fc.integer(),
  users: fc.integer({ min: 1, max: 3 }),
  streams: fc.integer({ min: 1, max: 2 }),
  fresh: fc.boolean(),
  weather: fc.integer({ min: 0, max: 3 }),
  parked: fc.constantFrom(2, 4, 256),
  steps: fc.array(step, { minLength: 1, maxLength: 40, size: 'max' }),
});
